"""Everything of one domain in memory: its log, its groups, its delayed events."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from celeriac.event_log.backpressure import Backlog
from celeriac.event_log.clock_step import ClockSteps
from celeriac.event_log.event_log import (
    Entry,
    EntryKind,
    GroupInfo,
    StreamStats,
    entry_key,
    entry_time_ms,
)
from celeriac.event_log.open_chunk import OpenChunk, in_log_order
from celeriac.schedule import StoredSchedule
from celeriac.store.memory.event_ids import MemoryIds
from celeriac.store.memory.stream import Key, MemoryGroup, Stream, entry_id


class MemoryDomain:
    """Everything of one domain. `dead` and `actions` belong to the delivery store; they are here so
    that trimming and removing a domain are atomic."""

    def __init__(self) -> None:
        self.events: Stream[bytes] = Stream()
        # Kinds other than FOREIGN.
        self.kinds: dict[str, EntryKind] = {}
        self.dead: Stream[Any] = Stream()
        # Actions of operators: a note and the number of deliveries, as in `_audit.lua`.
        self.actions: Stream[tuple[bytes, int]] = Stream()
        self.ids = MemoryIds()
        # Token or event → its time in ms; token → event: see event_log/delayed.py.
        self.delayed: dict[str | bytes, int] = {}
        self.delayed_events: dict[str | bytes, bytes] = {}
        # Delayed events with a time of day instead of a delay.
        self.at_time_of_day: set[str | bytes] = set()
        # Field → definition and state of a schedule.
        self.schedules: dict[str, tuple[bytes, StoredSchedule]] = {}
        self.emitted: Counter[str] = Counter()
        self.groups: dict[str, MemoryGroup] = {}
        self.wakeup: Key = (0, 0)
        self.clock_steps = ClockSteps()

    def entry(self, id: str, body: bytes) -> Entry:
        """Return the log entry with this id."""
        return Entry(id, body, self.kinds.get(id, EntryKind.FOREIGN))

    def may_repeat(self, entry: str, body: bytes) -> bool:
        """Return whether the entry may repeat an event."""
        if self.entry(entry, body).kind not in (EntryKind.MADE, EntryKind.GIVEN):
            return True
        at = entry_time_ms(entry)
        return self.ids.is_ambiguous(at, at)

    def remove_dead_letter(self, handler: str, entry: str) -> None:
        for id, dead_letter in self.dead.range("-", "+"):
            if dead_letter.handler == handler and dead_letter.entry == entry:
                self.dead.remove(id)

    def trim_before(self, key: Key) -> int:
        removed = self.events.trim_before(key)
        if removed:
            kinds = self.kinds.items()
            self.kinds = {id: kind for id, kind in kinds if self.events.get(id) is not None}
        return removed

    def upcoming(self, until_ms: float = math.inf) -> list[tuple[int, str | bytes]]:
        """Delayed events by time: (time in ms, token or event)."""
        times = [(ms, token) for token, ms in self.delayed.items() if ms <= until_ms]
        return sorted(times, key=lambda pair: (pair[0], self.delayed_body(pair[1])))

    def delayed_body(self, token: str | bytes) -> bytes:
        return token if isinstance(token, bytes) else self.delayed_events[token]

    def remove_delayed(self, token: str | bytes) -> bytes | None:
        """The event that was removed; None where it was not there."""
        if self.delayed.pop(token, None) is None:
            return None
        body = self.delayed_body(token)
        self.delayed_events.pop(token, None)
        self.at_time_of_day.discard(token)
        return body

    def unfinished(self) -> Key | None:
        """Return the smallest id that some group has not read or not finished."""
        ids: list[Key] = []
        for consumers in self.groups.values():
            ids += map(entry_key, consumers.pending)
            before = [consumers.last, *(chunk.after for chunk in consumers.chunks.values())]
            ids += [(ms, sequence + 1) for ms, sequence in before]
        return min(ids, default=None)

    def unfinished_by_owner(self, consumers: MemoryGroup) -> dict[str, str]:
        """Return entry → owner for the group's unfinished entries, in log order."""
        owners = {entry: pending.owner for entry, pending in consumers.pending.items()}
        for chunk in consumers.chunks.values():
            owners |= {entry: chunk.owner for entry, _ in chunk.remaining(self.events)}
        return dict(sorted(owners.items(), key=lambda item: entry_key(item[0])))

    def open_chunks(self, consumers: MemoryGroup) -> list[OpenChunk]:
        """Return the open chunks of the group, in log order."""
        return in_log_order(
            OpenChunk(
                id=id,
                after=entry_id(chunk.after),
                upto=entry_id(chunk.upto),
                count=len(chunk.remaining(self.events)),
                owner=chunk.owner,
                renewed_ms=chunk.since_ms,
                entries=chunk.entries,
            )
            for id, chunk in consumers.chunks.items()
        )

    def backlog(self) -> Backlog:
        behind = {
            name: self.events.count_after(consumers.last) + len(self.unfinished_by_owner(consumers))
            for name, consumers in self.groups.items()
        }
        slowest = max(behind, key=behind.__getitem__, default="")
        events = behind.get(slowest, 0)
        return Backlog(events + len(self.delayed), slowest if events else "")

    def stream_stats(self, name: str) -> StreamStats:
        """Return the counts of the domain of this name."""
        events = self.events
        return StreamStats(
            name,
            length=len(events),
            appended=events.appended,
            delayed=len(self.delayed),
            emitted=dict(self.emitted),
            newest=entry_id(events.last),
        )

    def group_info(self, name: str, consumers: MemoryGroup) -> GroupInfo:
        """Return the position and the unfinished entries of a group."""
        owners = self.unfinished_by_owner(consumers)
        return GroupInfo(
            handler=name,
            last_delivered=entry_id(consumers.last),
            pending=len(owners),
            lag=self.events.count_after(consumers.last),
            read=self.events.appended - self.events.count_after(consumers.last),
            holders=dict(sorted(Counter(owners.values()).items())),
            oldest_pending=next(iter(owners), None),
            chunks=tuple(self.open_chunks(consumers)),
        )
