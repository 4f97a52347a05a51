"""A delivery: what a fetch, a claim and a completion of it consist of."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from celeriac.delivery.record import Failure
from celeriac.delivery.state import ClaimResult, Outcome
from celeriac.event import EmittedEvents
from celeriac.flow_control import FlowControl

# Delay of a delivery that only a worker with newer code can run.
REQUEUE_DELAY_MS = 1000
MAX_REQUEUE_DELAY_MS = 60_000
# A delivery is dead-lettered as poison after this many runs whose lease expired. A healthy delivery
# is unlikely to be running in that many crashing workers.
MAX_LOST_RUNS = 10


@dataclass(frozen=True, slots=True)
class Group:
    """The consumer group of one handler on the event log of one domain.

    `flow_control` has its limits per ordering key; two groups are equal without regard to it."""

    domain: str
    handler: str
    flow_control: FlowControl | None = field(default=None, compare=False)

    @property
    def ordered(self) -> bool:
        return self.flow_control is not None and self.flow_control.ordered


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What a dispatcher fetches for one group.

    `limit` is the maximum of deliveries that this worker has queued, including earlier ones;
    `max_in_flight` the maximum that all workers together have queued or running, not counting
    expired leases. `reclaim` also fetches deliveries whose lease expired. Scheduled and new
    deliveries get half of the limit each; a single slot goes to a scheduled one if
    `scheduled_first`. `lease_ms` replaces the lease of the settings for this group."""

    group: Group
    limit: int
    reclaim: bool = False
    max_new: int = 1000
    max_in_flight: int | None = None
    scheduled_first: bool = True
    lease_ms: int | None = None


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A fetched delivery. `attempts` counts the attempts that began before.

    `body` is None if the log entry was deleted outside celeriac: the delivery is lost and no longer
    pending. `lost_runs` counts the runs whose lease expired if this fetch reclaimed it from one,
    else 0. `into` is the entry that was handled in place of a coalesced one. `together` is equal
    for deliveries that the handler receives in one list."""

    entry: str
    body: bytes | None
    attempts: int
    lost_runs: int = 0
    into: str = ""
    together: str = ""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The fetched deliveries of one group.

    `queued` counts the deliveries that the worker had queued before. `mean_us` is the handler's run
    time, 0 if unknown. `now_ms` is the server's time and the base of `next_due_ms`. `is_at_end`:
    the group has read the log to its end."""

    deliveries: tuple[Delivery, ...] = ()
    queued: int = 0
    next_due_ms: int | None = None
    now_ms: int = 0
    mean_us: int = 0
    removed: bool = False  # the handler has no consumer group
    patterns: tuple[str, ...] = ()  # in force: see note_patterns
    in_flight: int = 0  # queued or running in all workers before
    in_flight_here: int = 0  # of those, in this worker
    is_at_end: bool = False


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A delivery that an executor may run. `attempt` counts from 1 and is the fencing token.

    `lost_runs` counts the earlier attempts whose lease expired."""

    entry: str
    result: ClaimResult
    attempt: int
    body: bytes | None
    lost_runs: int = 0

    @property
    def counted(self) -> int:
        """The attempt as the retry policy counts it: attempts of crashed workers are left out."""
        return self.attempt - self.lost_runs


class Completion(msgspec.Struct, frozen=True, gc=False):
    """The outcome of one delivery, for `complete`.

    `attempt` is the claimed one. `type` is the event type that statistics are kept by. `emitted`
    are the events that the attempt emitted. `into` is the entry that was handled in place of a
    coalesced one."""

    entry: str
    event_key: str
    attempt: int
    outcome: Outcome
    took_us: int = 0
    delay_ms: int = 0
    failure: Failure | None = None
    traceback: str = ""
    type: str = ""
    emitted_events: EmittedEvents = EmittedEvents()
    into: str = ""

    @property
    def attempts(self) -> int:
        """The attempts that ran. An exhausted delivery was claimed and not run."""
        return self.failure.attempt if self.failure else self.attempt


@dataclass(frozen=True, slots=True)
class Pending:
    """A pending delivery. `owner` is `queued:W` or `running:W` for worker W, `scheduled` or
    `blocked`."""

    entry: str
    owner: str
    held_ms: int
    attempts: int
    due_ms: int | None = None
    lost_runs: int = 0
