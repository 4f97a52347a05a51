"""The delivery store in memory, for readers, and what all of its parts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from celeriac.delivery.counters import Counters, sum_counters
from celeriac.delivery.delivery import Group, Pending
from celeriac.delivery.rate import rate_wait
from celeriac.delivery.record import Failure, History, Row
from celeriac.delivery.state import DeliveryState
from celeriac.event import EmittedEvents
from celeriac.settings import Settings
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.handler_store import HandlerStore, TTLDict
from celeriac.store.memory.transitions import Transitions


class MemoryDeliveryReader:
    """Implements DeliveryReading. Thread-safe; shares the store and the lock of the event log."""

    def __init__(self, settings: Settings, event_log: MemoryEventLog) -> None:
        self.lease_ms = int(settings.lease * 1000)
        self.event_log = event_log
        self._lock = event_log.lock
        self._handler_stores: dict[tuple[str, str], HandlerStore] = {}
        self._invalid: dict[str, TTLDict[str]] = {}
        self._arrivals: dict[str, float] = {}
        self._sources: dict[str, dict[str, int]] = {}

    def window_ms(self) -> int:
        return int(self.event_log.bus.current.dedup_window * 1000)

    def sources(self, domain: str) -> list[str]:
        with self._lock:
            return self._by_age(domain)

    def _by_age(self, domain: str) -> list[str]:
        known = self._sources.get(domain, {})
        return sorted(known, key=lambda source: (known[source], source), reverse=True)

    def rows(self, group: Group, event_keys: Sequence[str]) -> list[Row | None]:
        with self._lock:
            rows, now = self.handler_store(group).rows, self.event_log.clock.now_ms()
            return [rows.get(event_key, now) for event_key in event_keys]

    def history(self, group: Group, event_key: str) -> History:
        with self._lock:
            return self.handler_store(group).history(event_key, self.event_log.clock.now_ms())

    def histories(self, group: Group, event_keys: Sequence[str]) -> list[History]:
        return [self.history(group, event_key) for event_key in event_keys]

    def failures(self, group: Group, event_key: str) -> list[Failure]:
        return list(self.history(group, event_key).failures)

    def emitted_events(self, group: Group, event_keys: Sequence[str]) -> list[EmittedEvents]:
        with self._lock:
            emitted_events, now = (
                self.handler_store(group).emitted_events,
                self.event_log.clock.now_ms(),
            )
            return [
                emitted_events.get(event_key, now) or EmittedEvents() for event_key in event_keys
            ]

    def counters(self, groups: Sequence[Group]) -> list[Counters]:
        with self._lock:
            return [sum_counters([self.handler_store(group).counters]) for group in groups]

    def counters_by_minute(
        self, groups: Sequence[Group], minutes: int = 60
    ) -> list[dict[int, Counters]]:
        with self._lock:
            this = self.event_log.clock.now_ms() // 60_000
            span = range(this - min(minutes, 60) + 1, this + 1)
            records = [self.handler_store(group).minutes for group in groups]
            return [{m: sum_counters([record.get(m, {})]) for m in span} for record in records]

    def pending(self, group: Group, entry: str) -> Pending | None:
        with self._lock:
            moves = self.moves(group)
            entry_state = moves.consumers.pending.get(entry) if moves else None
            if moves is None or entry_state is None:
                return None
            since, attempts = moves.now - entry_state.since_ms, entry_state.count - 1
            lost = moves.handler_store.lost_runs.get(entry, 0)
            return Pending(entry, entry_state.owner, since, attempts, entry_state.due_ms, lost)

    def pending_between(
        self, group: Group, first: str, last: str, limit: int = 1000, *, owner: str = ""
    ) -> list[Pending]:
        with self._lock:
            moves = self.moves(group)
            entries = moves.consumers.between(first, last) if moves else []
            pending = (self.pending(group, entry) for entry in entries)
            owned = (p for p in pending if p is not None and owner in ("", p.owner))
            return list(islice(owned, limit))

    def earlier_in_sequence(self, group: Group, entry: str) -> list[str]:
        with self._lock:
            return self.handler_store(group).keyed.earlier(entry)

    def blocked_until_ms(self, group: Group) -> int | None:
        with self._lock:
            return self.handler_store(group).keyed.next_ms()

    def rate_wait_ms(self, handler: str, per_second: float) -> int:
        with self._lock:
            arrival = self._arrivals.get(handler, 0.0)
            return rate_wait(arrival, self.event_log.clock.now_ms(), 1000 / per_second)

    def kept_since_ms(self) -> int:
        return max(
            self.event_log.clock.now_ms() - self.window_ms(), self.event_log.bus.kept_since_ms
        )

    def due(self, group: Group) -> int:
        with self._lock:
            moves = self.moves(group)
            return len(moves.consumers.owned_by(DeliveryState.SCHEDULED)) if moves else 0

    def due_until(self, groups: Sequence[Group], until_ms: int) -> list[int]:
        with self._lock:
            return [
                sum(
                    pending.due_ms is not None and pending.due_ms <= until_ms
                    for pending in moves.consumers.pending.values()
                    if pending.owner == DeliveryState.SCHEDULED
                )
                if (moves := self.moves(group))
                else 0
                for group in groups
            ]

    def stats(self, group: Group) -> Mapping[str, int]:
        with self._lock:
            return dict(self.handler_store(group).stats)

    def stats_many(self, groups: Sequence[Group]) -> list[Mapping[str, int]]:
        return [self.stats(group) for group in groups]

    def handler_store(self, group: Group) -> HandlerStore:
        key = (group.domain, group.handler)
        return self._handler_stores.setdefault(key, HandlerStore(self.window_ms))

    def moves(self, group: Group) -> Transitions | None:
        """Return the group's transitions; None if the handler has no group."""
        consumers = self.event_log.store[group.domain].groups.get(group.handler)
        return (
            Transitions(self.event_log, group, consumers, self.handler_store(group))
            if consumers
            else None
        )
