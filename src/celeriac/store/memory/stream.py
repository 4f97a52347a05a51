"""A stream in memory and its groups, shared by the event log and the delivery store."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from celeriac.delivery.state import DeliveryState
from celeriac.event_log.event_log import entry_key

T = TypeVar("T")
Key = tuple[int, int]
LARGEST = 2**64 - 1


def entry_id(key: Key) -> str:
    return f"{key[0]}-{key[1]}"


class Stream(Generic[T]):
    """Entries ordered by id. An id is never used twice, even after a removal."""

    def __init__(self) -> None:
        self.last: Key = (0, 0)
        self.appended = 0
        self._keys: list[Key] = []
        self._values: dict[Key, T] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, now_ms: int, value: T) -> str:
        self.last = following(self.last, now_ms)
        self.appended += 1
        self._keys.append(self.last)
        self._values[self.last] = value
        return entry_id(self.last)

    def get(self, entry: str) -> T | None:
        return self._values.get(entry_key(entry))

    def range(self, start: str, end: str) -> list[tuple[str, T]]:
        """Return entries between inclusive bounds; a bound that begins with `(` is exclusive.

        `-` and `+` are the smallest and the largest id.
        """
        keys = self._keys[_slice(self._keys, start, end)]
        return [(entry_id(key), self._values[key]) for key in keys]

    def after(self, key: Key, count: int) -> list[tuple[str, T]]:
        begin = bisect_right(self._keys, key)
        return [(entry_id(k), self._values[k]) for k in self._keys[begin : begin + count]]

    def count_after(self, key: Key) -> int:
        return len(self._keys) - bisect_right(self._keys, key)

    def nth(self, index: int) -> Key:
        """Return the id at an index; past the end, the id that would follow."""
        return self._keys[index] if index < len(self._keys) else (self.last[0], self.last[1] + 1)

    def trim_before(self, key: Key) -> int:
        cut = bisect_left(self._keys, key)
        for doomed in self._keys[:cut]:
            del self._values[doomed]
        del self._keys[:cut]
        return cut

    def remove(self, entry: str) -> bool:
        key = entry_key(entry)
        if self._values.pop(key, None) is None:
            return False
        self._keys.remove(key)
        return True


def _slice(keys: list[Key], start: str, end: str) -> slice:
    low, high = 0, len(keys)
    if start.startswith("("):
        low = bisect_right(keys, entry_key(start[1:]))
    elif start != "-":
        low = bisect_left(keys, entry_key(start))
    if end.startswith("("):
        high = bisect_left(keys, entry_key(end[1:]))
    elif end != "+":
        key = entry_key(end) if "-" in end else (int(end), LARGEST)
        high = bisect_right(keys, key)
    return slice(low, max(low, high))


def following(last: Key, now_ms: int) -> Key:
    """Return the next id as Redis does: the time, or the last time if the clock is behind it."""
    return (now_ms, 0) if now_ms > last[0] else (last[0], last[1] + 1)


@dataclass(slots=True)
class PendingEntry:
    """A pending entry. `count` is the delivery count: attempts begun + 1."""

    owner: str
    since_ms: int
    count: int = 1
    due_ms: int | None = None


@dataclass(slots=True)
class MemoryChunk:
    """An open chunk: the entries after `after` up to `upto`, inclusive. A sparse chunk has only its
    `entries`."""

    after: Key
    upto: Key
    owner: str
    since_ms: int
    entries: tuple[str, ...] = ()

    def has(self, entry: str) -> bool:
        is_within = self.after < entry_key(entry) <= self.upto
        return is_within and (not self.entries or entry in self.entries)

    def remaining(self, events: Stream[T]) -> list[tuple[str, T]]:
        """Return the entries of the chunk that are left in the log."""
        events_between = events.range(f"({entry_id(self.after)}", entry_id(self.upto))
        return [(entry, event) for entry, event in events_between if self.has(entry)]


@dataclass(slots=True)
class MemoryGroup:
    last: Key
    pending: dict[str, PendingEntry] = field(default_factory=dict)
    chunks: dict[str, MemoryChunk] = field(default_factory=dict)

    def sorted(self) -> list[tuple[str, PendingEntry]]:
        """Return the pending entries in log order."""
        return sorted(self.pending.items(), key=lambda item: entry_key(item[0]))

    def between(self, first: str, last: str) -> list[str]:
        """Return the pending entries of a range, with bounds as in `Stream.range`."""
        entries = [entry for entry, _ in self.sorted()]
        return entries[_slice([entry_key(entry) for entry in entries], first, last)]

    def owned_by(self, owner: str) -> list[str]:
        return [entry for entry, pending in self.sorted() if pending.owner == owner]

    def waits_for(self, entry: str) -> bool:
        """Return whether the entry is ahead of the group, or in an open chunk."""
        key = entry_key(entry)
        return key > self.last or any(c.has(entry) for c in self.chunks.values())


def state_of(owner: str) -> DeliveryState:
    """Return the state of a delivery with this owner."""
    return DeliveryState(owner.partition(":")[0])
