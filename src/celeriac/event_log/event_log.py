"""The event log: a stream for each domain, and a consumer group for each handler on it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from celeriac.bus_settings import BusSettings
from celeriac.event_log.clock_step import ClockStep

if TYPE_CHECKING:
    from celeriac.event_log.open_chunk import OpenChunk


class EntryKind(Enum):
    """What is known about duplicates of an entry. The value is the name of its one field."""

    MADE = "made"  # `emit` made the id, and appended the event at its first try
    GIVEN = "given"  # the producer gave the id; it is registered when the event is appended
    FOREIGN = "event"  # any other event, such as those of foreign producers
    REDRIVEN = "redriven"  # a redriven event whose entry was trimmed, appended again


# The domain, the event, and `kind` and `since_ms` of EventLog.append.
Item = tuple[str, bytes, EntryKind, int]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry of an event log. `id` is `<ms>-<sequence>`; `body` is None without an event."""

    id: str
    body: bytes | None
    kind: EntryKind = EntryKind.FOREIGN

    @property
    def time_ms(self) -> int:
        """When the entry was appended, by the server's clock."""
        return entry_time_ms(self.id)


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """The position of one handler in one domain's event log.

    `pending` counts fetched entries that are not completed, `lag` the entries that are not fetched,
    and `read` the entries up to the position. `lag` and `read` are None if the server cannot
    determine them without counting. `holders` counts the pending entries by owner, including those
    in open chunks. `chunks` are the open chunks in order, read after the position. All entries
    before `oldest_pending` are completed.
    """

    handler: str
    last_delivered: str
    pending: int
    lag: int | None
    read: int | None
    holders: Mapping[str, int]
    oldest_pending: str | None
    chunks: tuple[OpenChunk, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamStats:
    """The size of one domain's event log.

    `length` is the number of entries, `appended` that of all entries ever appended, `delayed`
    that of delayed events. `emitted` counts events by type, as reported by emitters: it lags by
    about a second, does not include foreign producers, and counts types after the first thousand as
    `other`. `newest` is the last entry id.
    """

    domain: str
    length: int = 0
    appended: int = 0
    delayed: int = 0
    emitted: Mapping[str, int] = field(default_factory=dict)
    newest: str = "0-0"


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The result of a trim: the removed entries and dead letters, and the remaining entries.

    `more` is True if trim should be called again soon.
    """

    entries: int = 0
    dead_letters: int = 0
    remaining: int = 0
    more: bool = False


_KINDS = {kind.value.encode(): kind for kind in EntryKind}


def read_entry(id: bytes, fields: Any) -> Entry:
    """Return the entry with this id and these fields: a mapping, or a flat list."""
    # The common case first, because a fetch reads a thousand entries.
    if type(fields) is list and len(fields) == 2 and (kind := _KINDS.get(fields[0])):
        return Entry(id.decode(), fields[1], kind)
    return Entry(id.decode(), *_read_fields(fields))


def _read_fields(fields: Any) -> tuple[bytes | None, EntryKind]:
    pairs = (
        fields.items()
        if isinstance(fields, Mapping)
        else zip(fields[::2], fields[1::2], strict=True)
    )
    for name, value in pairs:
        if kind := _KINDS.get(name):
            return value, kind
    return None, EntryKind.FOREIGN


def tried_at(ms: int, items: Sequence[Item]) -> list[Item]:
    """Return the items after an append at `ms` whose reply was lost, so that they may be appended.

    If that append arrived, it registered those of kind GIVEN.
    """
    made = EntryKind.MADE
    return [(*item[:3], (item[3] or ms) if item[2] is made else item[3]) for item in items]


def time_ms() -> int:
    """Return the time of this process in ms since the epoch."""
    return int(time.time() * 1000)


def entry_time_ms(entry: str) -> int:
    """Return the time in an entry id, in ms since the epoch."""
    return int(entry.partition("-")[0])


def is_entry(text: str) -> bool:
    """Return whether the text is a valid entry id."""
    ms, _, sequence = text.partition("-")
    digits = ms + sequence
    return bool(ms and sequence) and digits.isascii() and digits.isdigit() and len(text) <= 41


def entry_key(entry: str) -> tuple[int, int]:
    """Return a sort key of an entry id: `10-2` comes before `10-10`."""
    ms, _, sequence = entry.partition("-")
    return int(ms), int(sequence or 0)


def next_id(entry: str) -> str:
    """Return the next larger entry id."""
    ms, sequence = entry_key(entry)
    return f"{ms}-{sequence + 1}" if sequence < 2**64 - 1 else f"{ms + 1}-0"


@dataclass(frozen=True, slots=True)
class Eviction:
    """A server's `maxmemory-policy`, and the number of keys it has evicted since its start."""

    server: str
    policy: str
    evicted: int


class EventLog(Protocol):
    """Appending to event logs and reading them. Methods block up to the timeout of the client.

    If Redis is unreachable, methods raise redis.RedisError, which callers translate. `bus` are the
    settings of the bus.
    """

    bus: BusSettings

    def register_domains(self, domains: Iterable[str], *, bounded: bool = True) -> None:
        """Add domains to the set of domains. Idempotent.

        Raises LogFull for a new domain if the bus has `max_domains` domains, unless
        `bounded=False`, as for the domains of handlers.
        """
        ...

    def domains(self) -> frozenset[str]:
        """Return every registered domain."""
        ...

    def discover(self) -> frozenset[str]:
        """Register the streams that foreign producers created; return their domains. Scans."""
        ...

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        """Append one event atomically; return its entry id.

        An event of kind GIVEN, or one that may be in the event log already, is appended once
        within `dedup_window`: a repetition writes nothing and returns the first entry. `since_ms`
        is the time, by the clock of this process, since when the event may be in the event log; 0
        if it cannot be. With MADE it is the time of the first append, whose reply was lost; with
        GIVEN the time when `emit` made the id.
        """
        ...

    def append_many(self, items: Sequence[Item]) -> int:
        """Append events in order in one round trip, each atomically; return their number.

        Raises the first failure with the attribute `appended`, the number of events before it.
        """
        ...

    def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> int:
        """Store a delayed event; return its time in ms.

        At that time it is appended like an event of kind GIVEN, unless it is FOREIGN. Of delayed
        events with one key that are not FOREIGN, the first stays, with its time.
        """
        ...

    def cancel_delayed(self, event_key: str, domains: Iterable[str]) -> bool:
        """Remove the delayed event with this key from these domains; return whether it was there.

        An event that was removed never enters the event log. Domains that the ACL of Redis forbids
        are left out.
        """
        ...

    def enqueue_due(self, domain: str, count: int = 1000) -> tuple[int, int | None]:
        """Append up to `count` delayed events whose time has come.

        Return their number, and the time in ms of the next delayed event.
        """
        ...

    def enqueue_due_many(
        self, domains: Sequence[str], count: int = 1000
    ) -> list[tuple[int, int | None]]:
        """Run `enqueue_due` for each of the domains, in one round trip."""
        ...

    def read(
        self,
        domain: str,
        *,
        start: str = "-",
        end: str = "+",
        count: int = 1000,
        newest_first: bool = False,
    ) -> list[Entry]:
        """Return the entries from `start` to `end`, both inclusive; `(id` is exclusive."""
        ...

    def read_after(self, requests: Sequence[tuple[str, str, int]]) -> list[list[Entry] | None]:
        """Return the entries after each (domain, entry, count), at most `count`, in one round trip.

        None for a domain whose cluster node is unreachable.
        """
        ...

    def registered(self, domain: str, event_keys: Sequence[str]) -> list[str | None]:
        """Return the entry registered for each event key (see `append`), in order."""
        ...

    def length(self, domain: str) -> int:
        """Return the number of entries, including completed ones that are not trimmed."""
        ...

    def note_emitted(self, types: Iterable[str]) -> None:
        """Count one event of each type as emitted, for `stream_stats`. Never blocks or raises."""
        ...

    def stream_stats(self, domains: Sequence[str]) -> list[StreamStats]:
        """Return the size of each event log, in order; in one round trip."""
        ...

    def delayed(self, domain: str) -> int:
        """Return the number of delayed events."""
        ...

    def upcoming(
        self, domain: str, *, start: int = 0, count: int = 1000
    ) -> list[tuple[int, bytes]]:
        """Return delayed events as (time in ms, body), the next one first."""
        ...

    def trim(self, domain: str, *, exact: bool = False) -> tuple[int, int]:
        """Remove entries that every group has completed and that exceed the retention.

        Return the numbers of removed entries and removed dead letters.
        """
        ...

    def trim_many(self, domains: Sequence[str], *, exact: bool = False) -> list[Trimmed]:
        """Run `trim` for each of the domains, in as many round trips as the largest needs.

        Removes a bounded number of entries: see `Trimmed.more`.
        """
        ...

    def forget_domain(self, domain: str, silent_ms: int) -> bool:
        """Remove an empty domain, with its groups, if nothing was emitted for `silent_ms`.

        Return False if it has an entry, a delivery, a delayed event, a dead letter, or an
        operator's action within `dead_retention`.
        """
        ...

    def forgotten(self) -> frozenset[str]:
        """Return the domains that were removed as empty and not registered since."""
        ...

    def join(self, domain: str, handler: str, start: str) -> bool:
        """Create the handler's group after entry `start` (`0`: before the first, `$`: the newest).

        Return False if it exists. Creates the stream if it is missing.
        """
        ...

    def leave(self, domain: str, handler: str) -> bool:
        """Destroy the handler's group with its pending entries; return False if it is missing."""
        ...

    def remove_idle_consumers(self, domain: str) -> int:
        """Remove consumers of stopped workers without pending entries; return their number."""
        ...

    def groups(self, domain: str) -> list[GroupInfo]:
        """Return every group on the domain's stream."""
        ...

    def wait(self, seen: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        """Wait for an entry after `seen[domain]` or a notification on the wakeup stream
        (`seen["wakeup <domain>"]`), at most `seconds`.

        Return `seen`, updated with the newest ids.
        """
        ...

    def reconnect(self) -> None:
        """Make `wait` use a new connection, after the server became a replica."""
        ...

    def clock_step(self, domain: str) -> ClockStep | None:
        """Return the last backward step of the server's clock that workers observed, if any."""
        ...

    def evictions(self) -> list[Eviction]:
        """Return the eviction policy of each server; empty if the ACL forbids reading it."""
        ...


def group_info(event_log: EventLog, domain: str, handler: str) -> GroupInfo | None:
    """Return the position of the handler in the domain; None if it has no consumer group.

    Blocks for round trips. Raises redis.RedisError.
    """
    groups = event_log.groups(domain)
    return next((group for group in groups if group.handler == handler), None)
