"""The records of one handler in one domain, in memory, except its pending entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from typing import Generic, TypeVar

import msgspec

from celeriac.delivery.archive_replay import ArchiveReplay
from celeriac.delivery.counters import UNCOUNTED, Counters, HandlerStats, count_completed
from celeriac.delivery.delivery import Completion
from celeriac.delivery.record import MAX_HISTORY, Failure, History, Restart, Row, refused_field
from celeriac.delivery.run_record import Run
from celeriac.delivery.state import DeliveryState, Outcome
from celeriac.event import EmittedEvents
from celeriac.event_log import entry_time_ms
from celeriac.store.memory.keyed_entries import KeyedEntries

T = TypeVar("T")


class TTLDict(Generic[T]):
    """A mapping that drops each value a window after it was last written. The window may change."""

    def __init__(self, window_ms: Callable[[], int]) -> None:
        self._window_ms = window_ms
        self._written: dict[str, tuple[int, T]] = {}

    def put(self, key: str, value: T, now_ms: int) -> None:
        # Removed first, so that values stay sorted by age.
        self._written.pop(key, None)
        self._written[key] = (now_ms, value)

    def get(self, key: str, now_ms: int) -> T | None:
        self._expire(now_ms)
        written = self._written.get(key)
        return written[1] if written else None

    def drop(self, key: str) -> None:
        self._written.pop(key, None)

    def _expire(self, now_ms: int) -> None:
        while self._written:
            oldest = next(iter(self._written))
            if now_ms - self._written[oldest][0] < self._window_ms():
                return
            del self._written[oldest]


class HandlerStore:
    """Rows of the matrix, the failures behind them, statistics, and entries blocked by key."""

    def __init__(self, window_ms: Callable[[], int]) -> None:
        self.rows: TTLDict[Row] = TTLDict(window_ms)
        self.past: TTLDict[list[Failure | Restart]] = TTLDict(window_ms)
        self.emitted_events: TTLDict[EmittedEvents] = TTLDict(window_ms)
        self.verified: TTLDict[str] = TTLDict(window_ms)  # event key → entry
        self.stats: defaultdict[str, int] = defaultdict(int)
        self.counters: Counters = {}
        self.minutes: dict[int, Counters] = {}
        self.patterns: tuple[str, ...] = ()
        self.runs: dict[str, Run] = {}
        self.keyed = KeyedEntries()
        self.archive_replay: ArchiveReplay | None = None
        # Entry → the number of its runs whose lease expired.
        self.lost_runs: dict[str, int] = {}

    def record(
        self,
        event_key: str,
        state: DeliveryState,
        entry: str,
        attempt: int,
        took_us: int,
        now_ms: int,
        *,
        into: str = "",
    ) -> None:
        row = Row(
            state=state, entry=entry, attempt=attempt, at_ms=now_ms, took_us=took_us, into=into
        )
        self.rows.put(event_key, row, now_ms)

    def note_verified(self, verified: Sequence[tuple[str, str]], now_ms: int) -> dict[str, str]:
        """Record (entry, event key) pairs; return the duplicates, each with the entry recorded
        first."""
        for entry, event_key in verified:
            if self.verified.get(event_key, now_ms) is None:
                self.verified.put(event_key, entry, now_ms)
        noted = {entry: self.verified.get(key, now_ms) or "" for entry, key in verified}
        return {entry: first for entry, first in noted.items() if first != entry}

    def forget_refused(self, event_key: str, entry: str, now_ms: int) -> None:
        """Drop the record of an entry that was refused."""
        if self.verified.get(event_key, now_ms) == entry:
            self.verified.drop(event_key)

    def unrecord(self, event_key: str, entry: str, now_ms: int) -> bool:
        """Remove the row of this entry's run. Return False if the row is not of that run."""
        row = self.rows.get(event_key, now_ms)
        if row is None or row.entry != entry or row.state is not DeliveryState.RUNNING:
            return False
        self.rows.drop(event_key)
        return True

    def came_before(
        self, event_key: str, entry: str, pending: Container[str], now_ms: int
    ) -> DeliveryState | None:
        """Return the state of the event if another entry of it is finished or in flight."""
        row = self.rows.get(event_key, now_ms)
        if row is None:
            return None
        if row.state not in (DeliveryState.RUNNING, DeliveryState.SCHEDULED):
            return row.state
        return row.state if row.entry != entry and row.entry in pending else None

    def history(self, event_key: str, now_ms: int) -> History:
        past = self.past.get(event_key, now_ms) or ()
        return History(
            tuple(line for line in past if isinstance(line, Failure)),
            tuple(line for line in past if isinstance(line, Restart)),
        )

    def add_failure(
        self, event_key: str, failure: Failure | None, now_ms: int
    ) -> tuple[Failure, ...]:
        """Append a failed attempt of the current life, and return all failures."""
        if failure is not None:
            life = self.history(event_key, now_ms).life
            self._append(event_key, msgspec.structs.replace(failure, life=life), now_ms)
        return self.history(event_key, now_ms).failures

    def begin_again(self, event_key: str, entry: str, note: str, now_ms: int) -> None:
        """Begin another life of the delivery: remove its row, keep its failures.

        An entry that was refused has a row of its own: the row of the key belongs to another entry.
        """
        refused = refused_field(entry)
        field = event_key if self.rows.get(refused, now_ms) is None else refused
        row, past = self.rows.get(field, now_ms), self.history(field, now_ms)
        self.rows.drop(field)
        if row is not None or past != History():
            life = past.life + 1
            self._append(field, Restart.of(row, at=now_ms, note=note, life=life), now_ms)

    def note_edit(self, event_key: str, entry: str, edited: str, note: str, now_ms: int) -> None:
        """Record that an edited event replaced this one."""
        refused = refused_field(entry)
        field = event_key if self.rows.get(refused, now_ms) is None else refused
        life = self.history(field, now_ms).life
        line = Restart(at=now_ms, note=note, life=life, edited=edited)
        self._append(field, line, now_ms)

    def _append(self, event_key: str, line: Failure | Restart, now_ms: int) -> None:
        past = [*(self.past.get(event_key, now_ms) or ()), line]
        # Keep the first line and the last ones.
        del past[1 : max(1, 1 + len(past) - MAX_HISTORY)]
        self.past.put(event_key, past, now_ms)

    def add_emitted(self, event_key: str, emitted_events: EmittedEvents, now_ms: int) -> None:
        """Add the events that one attempt emitted, without duplicates of earlier attempts."""
        if emitted_events:
            known = self.emitted_events.get(event_key, now_ms)
            combined = known.and_those_of(emitted_events) if known else emitted_events
            self.emitted_events.put(event_key, combined, now_ms)

    def count(self, completion: Completion, outcome: Outcome, now_ms: int) -> None:
        """Count a completed delivery in the totals and in the current minute."""
        if outcome in UNCOUNTED:
            return
        minute = now_ms // 60_000
        for old in [m for m in self.minutes if m <= minute - 60]:
            del self.minutes[old]
        total_us = max(0, now_ms - entry_time_ms(completion.entry)) * 1000
        for counters in (self.counters, self.minutes.setdefault(minute, {})):
            count_completed(
                counters.setdefault(completion.type, HandlerStats()),
                outcome,
                completion.attempt,
                completion.took_us,
                total_us,
            )
