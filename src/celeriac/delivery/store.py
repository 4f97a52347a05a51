"""The ledger: where each delivery is, and what each handler did with each event.

It knows events by their keys (`event.event_key`), and does not look into these.

Every method is one atomic move (see `state.MOVES`), blocks for one round trip, may be repeated
after a lost answer, and raises redis.RedisError where Redis cannot be reached. A handler that was
removed has nothing: nothing is taken, claimed or held any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from celeriac.delivery.counters import Counters
from celeriac.delivery.dead_group import Audited, DeadGroup
from celeriac.delivery.record import Failure, History, Row
from celeriac.delivery.state import Outcome, Verdict
from celeriac.event import EmittedEvents, key_id
from celeriac.flow_control import FlowControl

# How long a delivery waits that only a worker with newer code can run.
PUT_OFF_MS = 1000
LONGEST_PUT_OFF_MS = 60_000
# Runs of a delivery that ended with their lease, after which it is dead-lettered as poison. Chance
# puts no other under way in so many workers that die.
MAX_LOST_RUNS = 10
# Of one domain: those seen last.
MAX_SOURCES = 1000


@dataclass(frozen=True, slots=True)
class Group:
    """One handler in one domain: what a hint, a claim and a finish are about.

    `flow` is what it allows the events of one key; no part of what it is compared by."""

    domain: str
    handler: str
    flow: FlowControl | None = field(default=None, compare=False)

    @property
    def ordered(self) -> bool:
        return self.flow is not None and self.flow.ordered


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What a dispatcher asks `take` for. `limit` bounds what it holds queued, old and new;
    `most_held` what all workers together have queued or running, but for leases that are over.
    What is due and what is new share the room half and half; where there is room for one, it is
    something due if `due_first`."""

    group: Group
    limit: int
    sweep: bool = False
    most_new: int = 1000
    most_held: int | None = None
    due_first: bool = True


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A delivery that a dispatcher was given. `attempts` counts those begun before.

    `body` is None where another hand deleted the log entry; it is lost and no longer pending.
    `lost_runs` counts the runs whose lease ended, where this `take` took it over from one; else 0.
    `into` is the entry that stands for it, where it was coalesced; `together` is the same for all
    that are given to the handler in one list.
    """

    entry: str
    body: bytes | None
    attempts: int
    lost_runs: int = 0
    into: str = ""
    together: str = ""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """`queued` is what the worker held before; `mean_us` the handler's run time, 0 if unknown;
    `now_ms` the server's time, by which `next_due_ms` is. `is_at_end`: the group was given the log
    to its end."""

    deliveries: tuple[Delivery, ...] = ()
    queued: int = 0
    next_due_ms: int | None = None
    now_ms: int = 0
    mean_us: int = 0
    removed: bool = False  # the handler has no group any more
    patterns: tuple[str, ...] = ()  # in force: see note_patterns
    held: int = 0  # what all workers had queued or running before
    own: int = 0  # what this worker had of that
    is_at_end: bool = False


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A delivery that an executor holds. `attempt` counts from 1 and is the fencing token;
    `lost_runs` of the attempts before it ended with their lease."""

    entry: str
    verdict: Verdict
    attempt: int
    body: bytes | None
    lost_runs: int = 0

    @property
    def counted(self) -> int:
        """The attempt as the handler's policy counts it: a worker that died costs none."""
        return self.attempt - self.lost_runs


class Completion(msgspec.Struct, frozen=True, gc=False):
    """What became of one delivery, for `finish`. `attempt` is that of the claim; `type` is the
    event's, which it is counted by; `effects` are the events that the attempt emitted; `into` is
    the entry that stands for a coalesced one."""

    entry: str
    event_key: str
    attempt: int
    outcome: Outcome
    took_us: int = 0
    delay_ms: int = 0
    failure: Failure | None = None
    traceback: str = ""
    type: str = ""
    effects: EmittedEvents = EmittedEvents()
    into: str = ""

    @property
    def attempts(self) -> int:
        """The attempts that ran. A claim that found them used up began none."""
        return self.failure.attempt if self.failure else self.attempt


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up. `event` is the body as it was in the log; `event_key` is empty
    where that is no event."""

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
class EditedLetter:
    """A dead letter, and the event that stands for its own: for this handler alone, with a new id.
    `body` is the event as it enters the log."""

    letter: DeadLetter
    id: str
    key: str
    type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """One delivery in flight. `owner` is `queued:W`, `running:W`, `due` or `parked`."""

    entry: str
    owner: str
    held_ms: int
    attempts: int
    due_ms: int | None = None
    lost_runs: int = 0


class DeliveryStore(Protocol):
    # -- the dispatcher's side
    def fetch(self, worker: str, asks: Sequence[FetchRequest]) -> list[FetchResult]:
        """Takes new, due and abandoned deliveries for each ask; in one round trip for all."""
        ...

    def pending_counts(self, domains: Sequence[str]) -> list[Mapping[str, int] | None]:
        """Return, for each domain, the handlers that have a consumer group in it, each with the
        number of its pending deliveries; in one round trip. None where it cannot be read now."""
        ...

    def requeue(self, worker: str, group: Group, most: int = 1000) -> int:
        """Makes what the worker holds queued due at once; returns how many."""
        ...

    def dead_letter_invalid(self, worker: str, group: Group, entry: str, error: str) -> bool:
        """Settles a queued entry that is no event; True if this wrote the dead letter."""
        ...

    def skip(self, worker: str, group: Group, settled: Sequence[Completion]) -> list[str]:
        """`finish` for deliveries that are queued and will not run."""
        ...

    def skip_many(self, worker: str, skipped: Sequence[tuple[Group, Sequence[Completion]]]) -> None:
        """`skip` for many lanes, in one round trip for all. What is no longer held is let be."""
        ...

    def note_patterns(
        self, group: Group, patterns: Sequence[str], gone: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Adds the patterns of this code to those in force for the handler; returns all of them.

        Every dispatcher of the handler gets them with all it takes from now on: code that has not
        all of them must not settle what another version wants. Those in `gone` are not in force any
        more, unless `patterns` has them. Idempotent.
        """
        ...

    def note_sources(self, domain: str, sources: Mapping[str, int]) -> None:
        """Notes sources of events of the domain, each with a time in ms at which it was seen.

        Keeps the MAX_SOURCES that were seen last. Idempotent.
        """
        ...

    def patterns(self, group: Group) -> tuple[str, ...]:
        """The patterns in force for the handler in the domain."""
        ...

    def grant(self, handler: str, want: int, per_second: float) -> tuple[int, int]:
        """How many of `want` deliveries the handler's rate allows now, over all workers.

        Also returns the ms after which the next one is allowed. What is granted counts as used.
        """
        ...

    # -- the executor's side
    def claim(
        self,
        worker: str,
        group: Group,
        hinted: Sequence[tuple[str, str]],
        most_attempts: int,
        *,
        verifies: bool = False,
    ) -> list[Claimed]:
        """Claims what is queued of a hint's (entry, event key) pairs; the rest is not returned.

        A delivery that was begun before is claimed only by a hint that names it alone. One is
        exhausted after `most_attempts` attempts, of which those whose lease ended count none, or
        after MAX_LOST_RUNS of these.

        `verifies`: the handler demands signatures. Which entries repeat an event is then found by
        `note_verified`, and not by registered ids, which whoever emits into the domain can write.
        """
        ...

    def note_verified(self, group: Group, verified: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Note the (entry, event key) pairs whose signatures were verified for the handler; return
        the entries of which another one with the event was noted before, with that one.

        Idempotent. Of the entries of one event, whoever appended them, one counts, for at least
        `dedup_window`. Where that one is refused or redriven, the next one is noted. Blocks for a
        round trip.
        """
        ...

    def complete(
        self, worker: str, group: Group, settled: Sequence[Completion], mean_us: int = 0
    ) -> list[str]:
        """Says what became of running deliveries; returns the entries no longer held."""
        ...

    def begin_complete(
        self, worker: str, group: Group, settled: Sequence[Completion], mean_us: int = 0
    ) -> Callable[[], list[str]]:
        """`finish`, whose answer is waited for when the function returned is called, once.

        Each of the two raises what `finish` would. Where it is not known whether it was carried
        out, it may be told again by `finish`.
        """
        ...

    def renew(self, worker: str, group: Group, held: Sequence[tuple[str, int]]) -> list[str]:
        """Begins the lease of (entry, attempt) pairs anew; returns the entries no longer held."""
        ...

    # -- the reader's side
    def rows(self, group: Group, event_keys: Sequence[str]) -> list[Row | None]:
        """The handler's cell for each event, in order."""
        ...

    def history(self, group: Group, event_key: str) -> History:
        """The failed attempts of every life of a delivery, and what began the later ones."""
        ...

    def histories(self, group: Group, event_keys: Sequence[str]) -> list[History]:
        """The same of many deliveries, in their order; in one round trip."""
        ...

    def failures(self, group: Group, event_key: str) -> list[Failure]:
        """The failed attempts of its history, oldest first."""
        ...

    def effects(self, group: Group, event_keys: Sequence[str]) -> list[EmittedEvents]:
        """What the handler emitted while it handled each event, in order; of all attempts."""
        ...

    def tallies(self, groups: Sequence[Group]) -> list[Counters]:
        """What each handler did by event type, since it joined; in one round trip for all."""
        ...

    def tallies_by_minute(
        self, groups: Sequence[Group], minutes: int = 60
    ) -> list[dict[int, Counters]]:
        """The same for each of the last `minutes` minutes, at most 60, the present one included.

        Keys are minutes since the epoch by the server's clock; each is there, the oldest first. In
        one round trip for all lanes, after one for the time.
        """
        ...

    def pending(self, group: Group, entry: str) -> Pending | None:
        """Where a delivery in flight is; None if it is not in flight."""
        ...

    def pending_between(
        self, group: Group, first: str, last: str, most: int = 1000, *, owner: str = ""
    ) -> list[Pending]:
        """Deliveries in flight of the entries from `first` to `last`, in the order of the log.

        Both included; `(id` excludes. With `owner`, those of this owner only.
        """
        ...

    def earlier_in_sequence(self, group: Group, entry: str) -> list[str]:
        """Return the unfinished entries before this one in its sequence, oldest first; at most
        MAX_BLOCKED_FAIR. Empty where the handler is not ordered or the entry is in no sequence."""
        ...

    def blocked_until_ms(self, group: Group) -> int | None:
        """Return when the next key may run that waits for its rate, or until it is quiet."""
        ...

    def rate_wait_ms(self, handler: str, per_second: float) -> int:
        """Return the ms after which the handler's rate limit allows a delivery; uses none of it."""
        ...

    def sources(self, domain: str) -> list[str]:
        """The noted sources of the domain's events, the last seen first."""
        ...

    def remembers_from_ms(self) -> int:
        """Since when no row is forgotten: an older entry may have had one that is gone."""
        ...

    def due(self, group: Group) -> int:
        """How many deliveries wait for their time."""
        ...

    def stats(self, group: Group) -> Mapping[str, int]:
        """Counts since the handler joined: of each outcome; `busy_us` and `mean_us`; `chunk k`,
        the claims of at most 2**k deliveries and more than half as many, and `claimed`, the
        deliveries in them; `lost running` and `lost queued`, the deliveries taken from another
        worker, or sent anew, because their lease was over."""
        ...

    def stats_many(self, groups: Sequence[Group]) -> list[Mapping[str, int]]:
        """`stats` of each lane, in order; in one round trip for all."""
        ...

    # -- the operator's side
    def dead(
        self, domain: str, *, after: str = "", count: int = 100, newest_first: bool = False
    ) -> list[DeadLetter]:
        """Dead letters of a domain past the id `after`."""
        ...

    def dead_letter(self, domain: str, letter: str) -> DeadLetter | None:
        """One dead letter."""
        ...

    def dead_count(self, domain: str) -> int:
        """How many dead letters the domain has."""
        ...

    def dead_groups(self, domain: str) -> list[DeadGroup]:
        """The dead letters of the domain, counted by handler and type of error. Does not read
        them: the counts are kept."""
        ...

    def redrive(
        self, group: Group, letters: Sequence[tuple[DeadLetter, bytes]], note: bytes = b""
    ) -> int:
        """Makes dead letters of the handler deliveries again; returns how many were there still.

        With each comes its event with this handler as the only reference, used where the log entry
        was trimmed. `note` (who asks, and why) is recorded in the same move. Raises NotFound where
        the handler has no group."""
        ...

    def edit(self, group: Group, edited: Sequence[EditedLetter], note: bytes = b"") -> int:
        """Resolves dead letters of the handler by events that stand for theirs; returns how many
        were there still.

        The letter goes, the event enters the log, and the history of the old delivery names it, in
        one move with `note`. Raises NotFound where the handler has no group."""
        ...

    def discard(self, domain: str, letters: Sequence[str], note: bytes = b"") -> int:
        """Removes dead letters for good; returns how many there were. Records `note`."""
        ...

    def schedule(self, group: Group, entries: Sequence[tuple[str, str]], note: bytes = b"") -> int:
        """Runs (entry, event key) pairs again that are settled; returns how many. Records `note`.
        Raises NotFound where the handler has no group."""
        ...

    def record(self, domain: str, note: bytes) -> None:
        """Records an act that is no move of a delivery."""
        ...

    def audited(self, domain: str, *, before: str = "", count: int = 100) -> list[Audited]:
        """What was recorded, the newest first. The oldest of more than 10,000 are forgotten."""
        ...

    def forget(self, group: Group) -> None:
        """Removes everything the handler has in the domain but its dead letters. Only for one that
        has left: what is due in a group that is there would wait for ever."""
        ...
