"""The delivery store: the state of each delivery, and what each handler did with each event.

Events are identified by their keys (`event.event_key`), which the store does not parse.

Every method is one atomic transition (see `state.MOVES`) and blocks for one round trip. It can be
repeated after a lost reply, and raises redis.RedisError if Redis is unreachable. For a handler that
was removed, every method returns nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from celeriac.delivery.counters import Counters
from celeriac.delivery.dead_group import Audited, DeadGroup
from celeriac.delivery.record import Failure, History, Row
from celeriac.delivery.state import ClaimResult, Outcome
from celeriac.event import EmittedEvents, key_id
from celeriac.flow_control import FlowControl

# Delay of a delivery that only a worker with newer code can run.
REQUEUE_DELAY_MS = 1000
MAX_REQUEUE_DELAY_MS = 60_000
# A delivery is dead-lettered as poison after this many runs whose lease expired. A healthy delivery
# is unlikely to be running in that many crashing workers.
MAX_LOST_RUNS = 10
# Sources that are kept for a domain: the most recent ones.
MAX_SOURCES = 1000


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
    `scheduled_first`."""

    group: Group
    limit: int
    reclaim: bool = False
    max_new: int = 1000
    max_in_flight: int | None = None
    scheduled_first: bool = True


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
class DeadLetter:
    """A delivery that failed permanently. `event` is the body as the log had it; `event_key` is
    empty if the body is not a valid event."""

    id: str
    domain: str
    handler: str
    entry: str
    event_key: str
    attempts: int
    error: str
    traceback: str
    first_failed_ms: int
    last_failed_ms: int
    event: bytes

    @property
    def event_id(self) -> str:
        return key_id(self.event_key)


@dataclass(frozen=True, slots=True)
class EditedDeadLetter:
    """A dead letter and the edited event that replaces it: for this handler only, with a new id.

    `body` is the event as it is appended to the log."""

    dead_letter: DeadLetter
    id: str
    key: str
    type: str
    body: bytes


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


class DeliveryStore(Protocol):
    # -- for dispatchers
    def fetch(self, worker: str, requests: Sequence[FetchRequest]) -> list[FetchResult]:
        """Fetch new, scheduled and reclaimed deliveries for each request, in one round trip."""
        ...

    def pending_counts(self, domains: Sequence[str]) -> list[Mapping[str, int] | None]:
        """Return for each domain the number of pending deliveries by handler, in one round trip.

        None for a domain that cannot be read now.
        """
        ...

    def requeue(self, worker: str, group: Group, limit: int = 1000) -> int:
        """Requeue deliveries that the worker has queued; return how many. No attempt is counted."""
        ...

    def dead_letter_invalid(self, worker: str, group: Group, entry: str, error: str) -> bool:
        """Dead-letter a queued entry that is not a valid event; return whether this call did."""
        ...

    def skip(self, worker: str, group: Group, completions: Sequence[Completion]) -> list[str]:
        """Complete queued deliveries that will not run; return the entries no longer owned."""
        ...

    def skip_many(self, worker: str, skipped: Sequence[tuple[Group, Sequence[Completion]]]) -> None:
        """`skip` for many groups in one round trip. Entries no longer owned are left untouched."""
        ...

    def note_patterns(
        self, group: Group, patterns: Sequence[str], gone: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Add the patterns of this code to those in force for the handler; return all of them.

        Each later fetch returns them: code that lacks one of them must not complete deliveries that
        another version wants. Patterns in `gone` are removed unless they are in `patterns`.
        Idempotent.
        """
        ...

    def note_sources(self, domain: str, sources: Mapping[str, int]) -> None:
        """Record sources of events of the domain, each with the time in ms at which it was seen.

        Keeps the MAX_SOURCES most recent ones. Idempotent.
        """
        ...

    def patterns(self, group: Group) -> tuple[str, ...]:
        """Return the patterns in force for the handler in the domain."""
        ...

    def grant(self, handler: str, want: int, per_second: float) -> tuple[int, int]:
        """Return how many of `want` deliveries the rate limit of all workers allows now.

        Also returns the ms until the next one is allowed. Granted deliveries count as used.
        """
        ...

    # -- for executors
    def claim(
        self,
        worker: str,
        group: Group,
        pairs: Sequence[tuple[str, str]],
        max_attempts: int,
        *,
        verifies: bool = False,
    ) -> list[Claimed]:
        """Claim the queued ones of a task's (entry, event key) pairs; return the claimed ones.

        A delivery that began before is claimed only if it is the task's only one. A delivery is
        exhausted after `max_attempts` attempts, not counting those whose lease expired, or after
        MAX_LOST_RUNS of these.

        `verifies`: the handler requires signatures. Duplicates are then found by `note_verified`
        and not by registered ids, which every producer of the domain can write.
        """
        ...

    def note_verified(self, group: Group, verified: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Record (entry, event key) pairs whose signatures were verified for the handler; return
        the duplicates, each with the entry that was recorded first.

        Of the entries of one event, one counts for at least `dedup_window`. If that one is refused
        or redriven, the next one is recorded. Idempotent.
        """
        ...

    def complete(
        self, worker: str, group: Group, completions: Sequence[Completion], mean_us: int = 0
    ) -> list[str]:
        """Record the outcomes of running deliveries; return the entries no longer owned."""
        ...

    def begin_complete(
        self, worker: str, group: Group, completions: Sequence[Completion], mean_us: int = 0
    ) -> Callable[[], list[str]]:
        """Send `complete`; the returned function waits for its reply, and must be called once.

        Both raise what `complete` raises. After a lost reply, `complete` may be repeated.
        """
        ...

    def renew(self, worker: str, group: Group, leases: Sequence[tuple[str, int]]) -> list[str]:
        """Renew the leases of (entry, attempt) pairs; return the entries no longer owned."""
        ...

    # -- for readers
    def rows(self, group: Group, event_keys: Sequence[str]) -> list[Row | None]:
        """Return the handler's row of the matrix for each event, in order."""
        ...

    def history(self, group: Group, event_key: str) -> History:
        """Return the failed attempts of a delivery, and what restarted it: redrives, replays."""
        ...

    def histories(self, group: Group, event_keys: Sequence[str]) -> list[History]:
        """Return `history` of many deliveries, in order, in one round trip."""
        ...

    def failures(self, group: Group, event_key: str) -> list[Failure]:
        """Return the failed attempts of a delivery, oldest first."""
        ...

    def emitted_events(self, group: Group, event_keys: Sequence[str]) -> list[EmittedEvents]:
        """Return the events that all attempts at each event emitted, in order."""
        ...

    def counters(self, groups: Sequence[Group]) -> list[Counters]:
        """Return the counters of each handler by event type since it joined, in one round trip."""
        ...

    def counters_by_minute(
        self, groups: Sequence[Group], minutes: int = 60
    ) -> list[dict[int, Counters]]:
        """Return the counters of the last `minutes` minutes, at most 60, including this one.

        Keys are minutes since the epoch by the server's clock, oldest first, without gaps. Blocks
        for two round trips.
        """
        ...

    def pending(self, group: Group, entry: str) -> Pending | None:
        """Return a pending delivery; None if the entry is not pending."""
        ...

    def pending_between(
        self, group: Group, first: str, last: str, limit: int = 1000, *, owner: str = ""
    ) -> list[Pending]:
        """Return the pending deliveries from entry `first` to `last`, both included, in log order.

        `(id` excludes an end. With `owner`, only deliveries of this owner.
        """
        ...

    def earlier_in_sequence(self, group: Group, entry: str) -> list[str]:
        """Return the unfinished entries before this one in its sequence, oldest first; at most
        MAX_BLOCKED_FAIR. Empty where the handler is not ordered or the entry is in no sequence."""
        ...

    def blocked_until_ms(self, group: Group) -> int | None:
        """Return the time in ms at which the next blocked key may run: its rate, or its quiet."""
        ...

    def rate_wait_ms(self, handler: str, per_second: float) -> int:
        """Return the ms until the handler's rate limit allows a delivery, without using it."""
        ...

    def sources(self, domain: str) -> list[str]:
        """Return the recorded sources of the domain's events, the most recent first."""
        ...

    def kept_since_ms(self) -> int:
        """Return the time in ms since which all rows are kept; older rows may be gone."""
        ...

    def due(self, group: Group) -> int:
        """Return the number of scheduled deliveries."""
        ...

    def stats(self, group: Group) -> Mapping[str, int]:
        """Return counts since the handler joined.

        Of each outcome; `busy_us` and `mean_us`; `chunk k`, the claims of more than 2**(k-1) and at
        most 2**k deliveries, and `claimed`, their deliveries; `lost running` and `lost queued`, the
        deliveries that were reclaimed after their lease expired.
        """
        ...

    def stats_many(self, groups: Sequence[Group]) -> list[Mapping[str, int]]:
        """Return `stats` of each group, in order, in one round trip."""
        ...

    # -- for operators
    def dead(
        self, domain: str, *, after: str = "", count: int = 100, newest_first: bool = False
    ) -> list[DeadLetter]:
        """Return dead letters of a domain with ids after `after`."""
        ...

    def dead_letter(self, domain: str, id: str) -> DeadLetter | None:
        """Return a dead letter; None if there is none of this id."""
        ...

    def dead_count(self, domain: str) -> int:
        """Return the number of dead letters of the domain."""
        ...

    def dead_groups(self, domain: str) -> list[DeadGroup]:
        """Return the number of dead letters by handler and type of error, from stored counts."""
        ...

    def redrive(
        self, group: Group, dead_letters: Sequence[tuple[DeadLetter, bytes]], note: bytes = b""
    ) -> int:
        """Redrive dead letters of the handler; return how many still existed.

        Each comes with its event addressed to this handler only, which is appended if the log entry
        was trimmed. `note` (who, and why) is recorded in the same transition. Raises NotFound if
        the handler has no consumer group."""
        ...

    def edit(self, group: Group, edited: Sequence[EditedDeadLetter], note: bytes = b"") -> int:
        """Replace dead letters of the handler by edited events; return how many still existed.

        The dead letter is removed, the event is appended, and the history of the old delivery names
        it, in one transition with `note`. Raises NotFound if the handler has no consumer group.
        """
        ...

    def discard(self, domain: str, ids: Sequence[str], note: bytes = b"") -> int:
        """Discard dead letters permanently; return how many existed. Records `note`."""
        ...

    def schedule(self, group: Group, entries: Sequence[tuple[str, str]], note: bytes = b"") -> int:
        """Schedule finished (entry, event key) pairs to run again; return how many. Records `note`.

        Raises NotFound if the handler has no consumer group.
        """
        ...

    def record(self, domain: str, note: bytes) -> None:
        """Record an action that changes no delivery in the audit log."""
        ...

    def audit_log(self, domain: str, *, before: str = "", count: int = 100) -> list[Audited]:
        """Return the audit log, newest first. It keeps 10,000 actions."""
        ...

    def forget(self, group: Group) -> None:
        """Remove all data of the handler in the domain except its dead letters.

        Only for a handler whose consumer group was destroyed: scheduled deliveries of an existing
        group would never run.
        """
        ...
