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
    GIVEN = "given"  # the id was given, and registered when the event was appended
    FOREIGN = "event"  # anything else, as what foreign producers append
    REDRIVEN = "redriven"  # a redriven event whose entry was trimmed, appended once more


# The domain, the event, what is known about its id, and `since_ms` of EventLog.append.
Item = tuple[str, bytes, EntryKind, int]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry of a domain's log. `id` is `<ms>-<sequence>`; `body` is None if it has no event."""

    id: str
    body: bytes | None
    kind: EntryKind = EntryKind.FOREIGN

    @property
    def time_ms(self) -> int:
        """When it entered the log, by the server's clock."""
        return entry_time_ms(self.id)


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """Where one handler stands in one domain's log.

    `pending` counts all that it was given and has not finished; `lag` all that it was not given
    yet, and `read` all entries that the log had up to where it stands (each None if the server
    cannot tell without counting). `holders` counts the former by owner, those in open chunks
    included. `chunks` are the open chunks in the order of the log, read after the position. No
    entry before `oldest_pending` is unfinished.
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
    """How large one domain's log is, and was.

    `length` is what lies in it, `appended` all entries that it ever had, `postponed` what waits to
    enter it. `emitted` counts by type what emitters told: it lags by about a second, has nothing
    of what foreign producers append, and counts a type beyond the first thousand as `other`.
    `newest` is the last entry id that the server gave.
    """

    domain: str
    length: int = 0
    appended: int = 0
    postponed: int = 0
    emitted: Mapping[str, int] = field(default_factory=dict)
    newest: str = "0-0"


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trim removed: `entries` of the log and dead `letters`. `left` entries are in the log
    still; `more` says that it should be called again soon."""

    entries: int = 0
    letters: int = 0
    left: int = 0
    more: bool = False


_KINDS = {kind.value.encode(): kind for kind in EntryKind}


def read_entry(id: bytes, fields: Any) -> Entry:
    """Return the entry of this id, by its fields as the server answers: a mapping, or a list of
    names and values in turns."""
    # So are nearly all. A fetch reads a thousand.
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
    """Return the same events after a try at `ms` whose answer was lost: they may be in the log.

    Those of kind GIVEN were registered by that try, if it arrived.
    """
    made = EntryKind.MADE
    return [(*item[:3], (item[3] or ms) if item[2] is made else item[3]) for item in items]


def time_ms() -> int:
    """Return this process' time in ms since the epoch."""
    return int(time.time() * 1000)


def entry_time_ms(entry: str) -> int:
    return int(entry.partition("-")[0])


def is_entry(text: str) -> bool:
    """Whether it is the id of an entry at all: what comes from outside may be anything."""
    ms, _, sequence = text.partition("-")
    digits = ms + sequence
    return bool(ms and sequence) and digits.isascii() and digits.isdigit() and len(text) <= 41


def entry_key(entry: str) -> tuple[int, int]:
    """For comparing ids: `10-2` comes before `10-10`."""
    ms, _, sequence = entry.partition("-")
    return int(ms), int(sequence or 0)


def next_id(entry: str) -> str:
    """The smallest id that is larger."""
    ms, sequence = entry_key(entry)
    return f"{ms}-{sequence + 1}" if sequence < 2**64 - 1 else f"{ms + 1}-0"


@dataclass(frozen=True, slots=True)
class Eviction:
    """What a server deletes when it is full, and how many keys it has deleted since its start."""

    server: str
    policy: str
    evicted: int


class EventLog(Protocol):
    """Appending and reading. Every method blocks for at most the time the client was opened with.

    Where Redis cannot be reached, methods raise redis.RedisError as it came; callers translate.
    `bus` has the settings that the whole bus shares.
    """

    bus: BusSettings

    def register_domains(self, domains: Iterable[str], *, bounded: bool = True) -> None:
        """Puts domains into the set of domains. Idempotent.

        Raises LogFull for a new domain where the bus has `max_domains`; with `bounded=False`, as
        for those that a handler names, it does not.
        """
        ...

    def domains(self) -> frozenset[str]:
        """Every domain that was announced."""
        ...

    def discover(self) -> frozenset[str]:
        """Announces logs that foreign producers began without announcing; returns those. Scans."""
        ...

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        """Appends one event, whole or not at all; returns its entry id.

        An event of kind GIVEN, and one that may be in the log already, is appended once within
        `dedup_window`: a repetition writes nothing and returns the entry of the first. `since_ms`
        says, by this process' clock, since when it may be there, 0 that it cannot be: with MADE it
        is the time of the first try, whose answer was lost; with GIVEN the time at which `emit`
        made the id.
        """
        ...

    def append_many(self, items: Sequence[Item]) -> int:
        """Appends events in their order, in one round trip, each whole or not at all.

        Returns how many were appended, counted from the first; raises the first failure with
        attribute `appended` set to that count.
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
        """Holds an event until its time; returns the time in ms. Unless it is FOREIGN, it then
        enters the log as one of kind GIVEN does."""
        ...

    def enqueue_due(self, domain: str, most: int = 1000) -> tuple[int, int | None]:
        """Appends up to `most` postponed events whose time has come.

        Returns how many, and the time in ms of the next one.
        """
        ...

    def enqueue_due_many(
        self, domains: Sequence[str], most: int = 1000
    ) -> list[tuple[int, int | None]]:
        """`enqueue_due` for each of the domains, in one round trip for all."""
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
        """Entries from `start` to `end`, both included; `(id` excludes."""
        ...

    def registered(self, domain: str, event_keys: Sequence[str]) -> list[str | None]:
        """The entry under which each event key is registered (see `append`), in order."""
        ...

    def length(self, domain: str) -> int:
        """Entries in the log, finished ones that were not trimmed yet included."""
        ...

    def note_emitted(self, types: Iterable[str]) -> None:
        """Count one event of each type as emitted, for `stream_stats`. Never blocks or raises."""
        ...

    def stream_stats(self, domains: Sequence[str]) -> list[StreamStats]:
        """How large each log is, in order; in one round trip for all."""
        ...

    def postponed(self, domain: str) -> int:
        """How many events are held until their time."""
        ...

    def upcoming(
        self, domain: str, *, start: int = 0, count: int = 1000
    ) -> list[tuple[int, bytes]]:
        """Events held until their time, as (time in ms, body), the next one first."""
        ...

    def trim(self, domain: str, *, exact: bool = False) -> tuple[int, int]:
        """Removes what is finished for every group and over the retention.

        Returns how many entries and how many dead letters went.
        """
        ...

    def trim_many(self, domains: Sequence[str], *, exact: bool = False) -> list[Trimmed]:
        """`trim` for each of the domains, in as many round trips as the longest of them takes.

        Removes a bounded number of entries: see `Trimmed.more`.
        """
        ...

    def forget_domain(self, domain: str, silent_ms: int) -> bool:
        """Remove a domain that holds nothing and to which nothing was emitted for `silent_ms`.

        False if it holds anything: an entry, a delivery, a postponed event, a dead letter, or an
        operator's action within `dead_retention`. Its groups go with it.
        """
        ...

    def forgotten(self) -> frozenset[str]:
        """The domains that were removed because they were empty, and have not come back."""
        ...

    def join(self, domain: str, handler: str, start: str) -> bool:
        """Makes the handler's group from after entry `start` (`0`: the first, `$`: the newest).

        False if it was there. Makes the log where there is none.
        """
        ...

    def leave(self, domain: str, handler: str) -> bool:
        """Destroys the handler's group and all that was pending in it. False if there was none."""
        ...

    def tidy(self, domain: str) -> int:
        """Forgets workers long gone that hold nothing in any group; returns how many."""
        ...

    def groups(self, domain: str) -> list[GroupInfo]:
        """Every group on the domain's log."""
        ...

    def wait(self, seen: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        """Blocks until an entry newer than `seen[domain]` comes or something falls due at once
        (`seen["wakeup <domain>"]`), and no longer than `seconds`.

        Returns `seen` with the newest known ids put in.
        """
        ...

    def reconnect(self) -> None:
        """Make `wait` use a new connection: the server became a replica, and keeps the old one."""
        ...

    def clock_step(self, domain: str) -> ClockStep | None:
        """The last time that the server's clock stepped back, as the workers of the domain saw
        it; None if it never did."""
        ...

    def evictions(self) -> list[Eviction]:
        """What each server does when it is full; nothing where this user may not ask."""
        ...
