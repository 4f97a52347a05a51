"""The event log in memory, kept until the process ends.

It shares its store and its lock with the delivery store in memory. Only a call advances its clock,
so that a test can jump to the time at which an event is due.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from celeriac.bus_settings import BusSettings
from celeriac.errors import LogFull
from celeriac.event import read_header
from celeriac.event_log.backpressure import Backlog, full_message, too_many_domains, waiting
from celeriac.event_log.clock_step import ClockStep, ClockSteps
from celeriac.event_log.event_log import (
    Entry,
    EntryKind,
    Eviction,
    GroupInfo,
    Item,
    StreamStats,
    Trimmed,
    entry_key,
)
from celeriac.event_log.open_chunk import OpenChunk, in_log_order
from celeriac.event_log.registered import (
    MARGIN_MS,
    Registered,
    event_of,
    is_keyed,
    is_registered,
    postponed,
)
from celeriac.settings import Settings
from celeriac.store.memory.bus_settings import MemorySettingsStore
from celeriac.store.memory.event_ids import LATE_MS, MemoryIds
from celeriac.store.memory.stream import Key, MemoryGroup, Stream, entry_id, following

FOREIGN = EntryKind.FOREIGN
WAKEUP = "wakeup"


class MemoryClock:
    """A clock that advances only when `advance` is called. Begins at the real time."""

    def __init__(self, now_ms: int | None = None) -> None:
        self._now_ms = int(time.time() * 1000) if now_ms is None else now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        self._now_ms += ms


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
        self.delayed: dict[bytes, int] = {}
        # Delayed events with a time of day instead of a delay.
        self.at_time_of_day: set[bytes] = set()
        self.emitted: Counter[str] = Counter()
        self.groups: dict[str, MemoryGroup] = {}
        self.wakeup: Key = (0, 0)
        self.clock_steps = ClockSteps()

    def entry(self, id: str, body: bytes) -> Entry:
        """Return the log entry with this id."""
        return Entry(id, body, self.kinds.get(id, EntryKind.FOREIGN))

    def trim_before(self, key: Key) -> int:
        removed = self.events.trim_before(key)
        if removed:
            kinds = self.kinds.items()
            self.kinds = {id: kind for id, kind in kinds if self.events.get(id) is not None}
        return removed

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


class MemoryEventLog:
    """Implements EventLog. Every method is thread-safe; only `wait` blocks."""

    def __init__(self, settings: Settings, clock: MemoryClock | None = None) -> None:
        self.settings = settings
        self.clock = clock or MemoryClock()
        self.lock = threading.Condition()
        self.store: defaultdict[str, MemoryDomain] = defaultdict(MemoryDomain)
        self.bus = BusSettings(settings, MemorySettingsStore(self.clock))
        self._announced: set[str] = set()
        self._forgotten: set[str] = set()

    def register_domains(self, domains: Iterable[str], *, bounded: bool = True) -> None:
        max_domains = self.bus.current.max_domains if bounded else 0
        with self.lock:
            for domain in domains:
                if domain in self._announced:
                    continue
                if max_domains and len(self._announced) >= max_domains:
                    raise LogFull(too_many_domains(domain, max_domains))
                self._announced.add(domain)

    def domains(self) -> frozenset[str]:
        with self.lock:
            return frozenset(self._announced)

    def discover(self) -> frozenset[str]:
        with self.lock:
            begun = {name for name, domain in self.store.items() if domain.events.last > (0, 0)}
            new = frozenset(begun - self._announced)
            self._announced |= new
            return new

    def forget_domain(self, domain: str, silent_ms: int) -> bool:
        with self.lock:
            store, oldest = self.store[domain], self.clock.now_ms() - silent_ms
            has_content = len(store.events) or len(store.dead) or store.delayed
            if has_content or store.events.last[0] > oldest:
                return False
            kept_ms = int(self.bus.current.dead_retention * 1000)
            if store.actions.last[0] > self.clock.now_ms() - kept_ms:
                return False
            if any(store.unfinished_by_owner(consumers) for consumers in store.groups.values()):
                return False
            # As in lua/forget.lua: an event that is appended again is still known.
            self.store[domain] = MemoryDomain()
            self.store[domain].ids = store.ids
            self._announced.discard(domain)
            self._forgotten.add(domain)
            return True

    def forgotten(self) -> frozenset[str]:
        with self.lock:
            return frozenset(self._forgotten - self._announced)

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        with self.lock:
            self._wait_for_credit(domain)
            self.lock.notify_all()
            if is_registered(kind, since_ms):
                return self._append_once(domain, body, kind, since_ms)
            return self._append(domain, body, kind)

    def _append(self, domain: str, body: bytes, kind: EntryKind) -> str:
        store = self.store[domain]
        entry = store.events.append(self.clock.now_ms(), body)
        if kind is not EntryKind.FOREIGN:
            store.kinds[entry] = kind
        return entry

    def _append_once(self, domain: str, body: bytes, kind: EntryKind, since_ms: int) -> str:
        """See lua/append_once.lua."""
        ids, event_key, now = self.store[domain].ids, read_header(body).key, self.clock.now_ms()
        ids.rotate(now, int(self.bus.current.dedup_window * 1000))
        known = ids.get(event_key)
        if known and not known.is_contested:
            return known.entry
        entry = self._append(domain, body, EntryKind.GIVEN)
        at = entry_key(entry)[0]
        if known:
            ids.note_ambiguous(at, at)
            ids.put(event_key, Registered(entry, earlier=known.entry), now)
            return entry
        if since_ms and kind is EntryKind.MADE:
            ids.note_ambiguous(min(since_ms, now) - MARGIN_MS, max(now, at) + LATE_MS)
        elif since_ms:
            ids.note_ambiguous(at, at)
            # An earlier entry is searched in the whole log: the clock differs from that of the ids.
        ids.put(event_key, Registered(entry, is_resolved=not since_ms), now)
        return entry

    def append_many(self, items: Sequence[Item]) -> int:
        with self.lock:
            for appended, (domain, body, kind, since) in enumerate(items):
                try:
                    self.append(domain, body, kind, since)
                except LogFull as error:
                    error.appended = appended
                    raise
        return len(items)

    def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> int:
        with self.lock:
            time_ms = self.clock.now_ms() + delay_ms if delay_ms is not None else at_ms
            if time_ms is None:
                raise ValueError("append_delayed needs delay_ms or at_ms")
            self._wait_for_credit(domain)
            member = postponed(body, kind)
            self.store[domain].delayed[member] = time_ms
            if at_ms is not None:
                self.store[domain].at_time_of_day.add(member)
            self.notify(domain)
            return time_ms

    def enqueue_due(self, domain: str, count: int = 1000) -> tuple[int, int | None]:
        with self.lock:
            store, now = self.store[domain], self.clock.now_ms()
            delayed = store.delayed
            step = store.clock_steps.observe("", now) if delayed else 0
            for member in delayed.keys() - store.at_time_of_day if step else ():
                delayed[member] -= step
            ready = sorted((ms, member) for member, ms in delayed.items() if ms <= now)
            for _, member in ready[:count]:
                del delayed[member]
                store.at_time_of_day.discard(member)
                body = event_of(member)
                self.append(domain, body, EntryKind.GIVEN if is_keyed(member) else FOREIGN)
            return len(ready[:count]), min(delayed.values(), default=None)

    def enqueue_due_many(
        self, domains: Sequence[str], count: int = 1000
    ) -> list[tuple[int, int | None]]:
        return [self.enqueue_due(domain, count) for domain in domains]

    def read(
        self,
        domain: str,
        *,
        start: str = "-",
        end: str = "+",
        count: int = 1000,
        newest_first: bool = False,
    ) -> list[Entry]:
        with self.lock:
            store = self.store[domain]
            entries = store.events.range(start, end)
            chosen = entries[::-1][:count] if newest_first else entries[:count]
            return [store.entry(entry, body) for entry, body in chosen]

    def read_after(self, requests: Sequence[tuple[str, str, int]]) -> list[list[Entry] | None]:
        return [
            self.read(domain, start=f"({entry}", count=count) for domain, entry, count in requests
        ]

    def registered(self, domain: str, event_keys: Sequence[str]) -> list[str | None]:
        with self.lock:
            known = map(self.store[domain].ids.get, event_keys)
            return [None if registered is None else registered.entry for registered in known]

    def length(self, domain: str) -> int:
        with self.lock:
            return len(self.store[domain].events)

    def note_emitted(self, types: Iterable[str]) -> None:
        with self.lock:
            for type in types:
                self.store[type.partition(".")[0]].emitted[type] += 1

    def stream_stats(self, domains: Sequence[str]) -> list[StreamStats]:
        with self.lock:
            return [_volume(domain, self.store[domain]) for domain in domains]

    def postponed(self, domain: str) -> int:
        with self.lock:
            return len(self.store[domain].delayed)

    def upcoming(
        self, domain: str, *, start: int = 0, count: int = 1000
    ) -> list[tuple[int, bytes]]:
        with self.lock:
            upcoming = sorted((ms, member) for member, ms in self.store[domain].delayed.items())
            return [(ms, event_of(member)) for ms, member in upcoming[start : start + count]]

    def trim(self, domain: str, *, exact: bool = False) -> tuple[int, int]:
        # Always exact: unlike Redis, memory has no nodes that are removed as a unit.
        settings, now = self.bus.current, self.clock.now_ms()
        with self.lock:
            store = self.store[domain]
            surplus = max(0, len(store.events) - settings.retention_count)
            cut = max((now - int(settings.retention * 1000), 0), store.events.nth(surplus))
            stays = store.unfinished()
            removed = store.trim_before(cut if stays is None else min(cut, stays))
            over = max(0, len(store.dead) - settings.max_dead_letters)
            old = (now - int(settings.dead_retention * 1000), 0)
            dead_letters = store.dead.trim_before(max(old, store.dead.nth(over)))
            return removed, dead_letters

    def trim_many(self, domains: Sequence[str], *, exact: bool = False) -> list[Trimmed]:
        return [Trimmed(*self.trim(domain), self.length(domain)) for domain in domains]

    def join(self, domain: str, handler: str, start: str) -> bool:
        with self.lock:
            self._announced.add(domain)
            store = self.store[domain]
            if handler in store.groups:
                return False
            store.groups[handler] = MemoryGroup(
                store.events.last if start == "$" else entry_key(start)
            )
            return True

    def leave(self, domain: str, handler: str) -> bool:
        with self.lock:
            return self.store[domain].groups.pop(handler, None) is not None

    def remove_idle_consumers(self, domain: str) -> int:
        # A worker is only the name of an owner here.
        return 0

    def groups(self, domain: str) -> list[GroupInfo]:
        with self.lock:
            store = self.store[domain]
            return [
                _group(name, store, consumers) for name, consumers in sorted(store.groups.items())
            ]

    def wait(self, seen: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        with self.lock:
            before = {
                name: self._newest(name) if entry == "$" else entry_key(entry)
                for name, entry in seen.items()
            }
            if seen:
                self.lock.wait_for(lambda: self._newer(before), seconds)
            return {**seen, **{name: entry_id(key) for name, key in self._newer(before).items()}}

    def reconnect(self) -> None:
        """Do nothing: there is no connection."""

    def clock_step(self, domain: str) -> ClockStep | None:
        with self.lock:
            steps = self.store[domain].clock_steps.steps.values()
            return max(steps, key=lambda step: step.at_ms, default=None)

    def evictions(self) -> list[Eviction]:
        return []

    def notify(self, domain: str) -> None:
        """Wake threads that wait for due entries. Call this under the lock."""
        store = self.store[domain]
        store.wakeup = following(store.wakeup, self.clock.now_ms())
        self.lock.notify_all()

    def _wait_for_credit(self, domain: str) -> None:
        """Wait until the domain is below the limit, which is exact here, unlike in Redis."""
        max_backlog = self.bus.current.max_backlog
        for pause in waiting(self.settings) if max_backlog else ():
            backlog = self.store[domain].backlog()
            if backlog.events < max_backlog:
                return
            if pause is None:
                raise LogFull(full_message(domain, backlog, max_backlog))
            self.lock.wait(pause)

    def _newer(self, before: Mapping[str, Key]) -> dict[str, Key]:
        newest = {name: self._newest(name) for name in before}
        return {name: key for name, key in newest.items() if key > before[name]}

    def _newest(self, name: str) -> Key:
        kind, _, domain = name.rpartition(" ")
        return self.store[domain].wakeup if kind == WAKEUP else self.store[domain].events.last


def _volume(name: str, domain: MemoryDomain) -> StreamStats:
    events = domain.events
    return StreamStats(
        name,
        length=len(events),
        appended=events.appended,
        postponed=len(domain.delayed),
        emitted=dict(domain.emitted),
        newest=entry_id(events.last),
    )


def _group(name: str, store: MemoryDomain, consumers: MemoryGroup) -> GroupInfo:
    owners = store.unfinished_by_owner(consumers)
    return GroupInfo(
        handler=name,
        last_delivered=entry_id(consumers.last),
        pending=len(owners),
        lag=store.events.count_after(consumers.last),
        read=store.events.appended - store.events.count_after(consumers.last),
        holders=dict(sorted(Counter(owners.values()).items())),
        oldest_pending=next(iter(owners), None),
        chunks=tuple(store.open_chunks(consumers)),
    )
