"""The delivery store: the state of each delivery, and what each handler did with each event.

It is described by four protocols, one for each of its users: dispatchers, executors, readers and
operators. A new store can be written and tested one after the other, in this order.

Events are identified by their keys (`event.event_key`), which the store does not parse.

Every method is one atomic transition (see `state.MOVES`) and blocks for one round trip. It can be
repeated after a lost reply, and raises redis.RedisError if Redis is unreachable. For a handler that
was removed, every method returns nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from celeriac.delivery.archive_replay import (
    ArchivedDelivery,
    ArchiveReplay,
    ArchiveReplayStep,
)
from celeriac.delivery.counters import Counters
from celeriac.delivery.dead_letter import Audited, DeadGroup, DeadLetter, EditedDeadLetter
from celeriac.delivery.delivery import (
    Claimed,
    Completion,
    FetchRequest,
    FetchResult,
    Group,
    Pending,
)
from celeriac.delivery.pending_reply import PendingReply
from celeriac.delivery.record import Failure, History, Row
from celeriac.event import EmittedEvents

# Sources that are kept for a domain: the most recent ones.
MAX_SOURCES = 1000


class DeliveryFetching(Protocol):
    """For dispatchers: fetch deliveries, give them back, and complete those that do not run."""

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


class DeliveryExecution(Protocol):
    """For executors: claim deliveries, keep their leases, and complete them."""

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
    ) -> PendingReply[list[str]]:
        """Send `complete`, without waiting for its reply.

        Both this and `result` raise what `complete` raises. After a lost reply, `complete` may be
        repeated.
        """
        ...

    def renew(self, worker: str, group: Group, leases: Sequence[tuple[str, int]]) -> list[str]:
        """Renew the leases of (entry, attempt) pairs; return the entries no longer owned."""
        ...


class DeliveryReading(Protocol):
    """For readers: what became of deliveries, and counts of them."""

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

    def due_until(self, groups: Sequence[Group], until_ms: int) -> list[int]:
        """Return the number of scheduled deliveries of each group that are due at a time in ms.

        In order, in one round trip.
        """
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


class DeadLetters(Protocol):
    """For operators: dead letters, replays, and the audit log."""

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

    def replay(self, group: Group, entries: Sequence[tuple[str, str]], note: bytes = b"") -> int:
        """Schedule finished (entry, event key) pairs to run again; return how many. Records `note`.

        Raises NotFound if the handler has no consumer group.
        """
        ...

    def archive_replay(self, group: Group) -> ArchiveReplay | None:
        """Return the handler's last replay from an archive in the domain; None if there is none."""
        ...

    def begin_archive_replay(
        self,
        group: Group,
        replay: ArchiveReplay,
        note: bytes = b"",
        *,
        replaces: bool = False,
    ) -> ArchiveReplay:
        """Begin the replay unless it has begun; return the handler's replay. Records `note`.

        A finished one begins again if `started_ms` is later. If another one is unfinished, nothing
        changes unless `replaces`.
        """
        ...

    def replay_archived(
        self,
        group: Group,
        operation: str,
        deliveries: Sequence[ArchivedDelivery],
        note: bytes = b"",
        *,
        is_last: bool = False,
    ) -> ArchiveReplayStep:
        """Schedule archived events, in log order, each once in the operation.

        An event whose entry was trimmed is appended again for the handler only. Unfinished
        deliveries are left as they are. `is_last` finishes the replay, and records `note` with the
        number of its events. Raises NotFound if the handler has no consumer group.
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


class DeliveryStore(DeliveryFetching, DeliveryExecution, DeliveryReading, DeadLetters, Protocol):
    """All of it."""
