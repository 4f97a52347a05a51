"""The event log in memory, kept until the process ends.

It shares its store and its lock with the delivery store in memory. Only a call advances its clock,
so that a test can jump to the time at which an event is due.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from celeriac.bus_settings import BusSettings
from celeriac.errors import LogFull
from celeriac.event import read_header
from celeriac.event_log.backpressure import full_message, too_many_domains, waiting
from celeriac.event_log.clock_step import ClockStep
from celeriac.event_log.delayed import is_registering, tokens_of, tokens_to_take
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
from celeriac.event_log.registered import MARGIN_MS, Registered, is_registered
from celeriac.settings import Settings
from celeriac.store.memory.bus_settings import MemorySettingsStore
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.domain import MemoryDomain
from celeriac.store.memory.event_ids import LATE_MS
from celeriac.store.memory.stream import Key, MemoryGroup, entry_id, following

FOREIGN = EntryKind.FOREIGN
WAKEUP = "wakeup"


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
            has_content = len(store.events) or len(store.dead) or store.delayed or store.schedules
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
            self._store_delayed(domain, body, kind, time_ms, is_time_of_day=at_ms is not None)
            self.notify(domain)
            return time_ms

    def _store_delayed(
        self, domain: str, body: bytes, kind: EntryKind, time_ms: int, *, is_time_of_day: bool
    ) -> None:
        """See lua/delay_event.lua."""
        store, tokens = self.store[domain], tokens_to_take(body, kind)
        token = next((token for token in tokens if token not in store.delayed), None)
        if token is not None:
            store.delayed_events[token] = body
        elif len(tokens) == 1:
            return
        stored = body if token is None else token
        store.delayed[stored] = time_ms
        store.at_time_of_day.discard(stored)
        if is_time_of_day:
            store.at_time_of_day.add(stored)

    def cancel_delayed(self, event_key: str, domains: Iterable[str]) -> bool:
        with self.lock:
            removed = [
                self.store[domain].remove_delayed(token)
                for domain in domains
                for token in tokens_of(event_key)
            ]
            return any(body is not None for body in removed)

    def enqueue_due(self, domain: str, count: int = 1000) -> tuple[int, int | None]:
        with self.lock:
            store, now = self.store[domain], self.clock.now_ms()
            delayed = store.delayed
            step = store.clock_steps.observe("", now) if delayed else 0
            for token in delayed.keys() - store.at_time_of_day if step else ():
                delayed[token] -= step
            ready = store.upcoming(until_ms=now)[:count]
            for _, token in ready:
                body = store.remove_delayed(token)
                is_given = isinstance(token, str) and is_registering(token)
                self.append(domain, body or b"", EntryKind.GIVEN if is_given else FOREIGN)
            return len(ready), min(delayed.values(), default=None)

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
            return [self.store[domain].stream_stats(domain) for domain in domains]

    def delayed(self, domain: str) -> int:
        with self.lock:
            return len(self.store[domain].delayed)

    def upcoming(
        self, domain: str, *, start: int = 0, count: int = 1000
    ) -> list[tuple[int, bytes]]:
        with self.lock:
            store = self.store[domain]
            upcoming = store.upcoming()[start : start + count]
            return [(ms, store.delayed_body(token)) for ms, token in upcoming]

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
                store.group_info(name, consumers)
                for name, consumers in sorted(store.groups.items())
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
