"""Emitting the events of the service's schedules, in every dispatcher, without a leader.

Each dispatcher that sees a tick come tries to emit its event; the store lets one of them.
"""

from __future__ import annotations

import logging
import math

import redis

from celeriac.event_log import EntryKind
from celeriac.invalid_record import is_wrong_type
from celeriac.schedule import (
    MAX_LATE_MS,
    DeclaredSchedule,
    Due,
    ScheduleStore,
    StoredSchedule,
    Ticked,
    due_tick,
)
from celeriac.service import Service
from celeriac.store.redis.connection import is_refused

logger = logging.getLogger(__name__)

MAX_TICKS = 20  # of one schedule in a turn, so that missed ticks delay no delivery
LOOK_AGAIN_MS = 5_000  # at a schedule that other code, or no code, has declared


class Schedules:
    """The schedules of a service, as this dispatcher last read them. Not thread-safe."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._look_at: dict[str, int] = {}
        self._refused: set[str] = set()
        self._failing: set[str] = set()

    def run(self) -> float:
        """Emit what is due; return the seconds until the next look, inf without schedules.

        Blocks for a round trip for each tick.
        """
        declared = self._service.schedules
        if not declared:
            return math.inf
        store = self._service.backend.schedules
        now_ms = store.now_ms()
        for name, each in declared.items():
            if self._look_at.get(name, 0) <= now_ms:
                self._look_at[name] = self._look(store, each, now_ms)
        return max(0.0, (min(self._look_at.values()) - now_ms) / 1000)

    def _look(self, store: ScheduleStore, declared: DeclaredSchedule, now_ms: int) -> int:
        """Emit the ticks of one schedule that are due; return when to look again, in ms."""
        name = declared.schedule.name
        try:
            look_at = self._tick(store, declared, now_ms)
            self._failing.discard(name)
            return look_at
        except redis.RedisError as error:
            if not is_refused(error) and not is_wrong_type(error):
                raise
            if name not in self._refused:
                self._refused.add(name)
                logger.error(
                    "celeriac: the schedule %s of %s does not tick in this worker: %s. Run "
                    "`celeriac acl` with --emits %s for this service, or see `celeriac doctor`",
                    name,
                    declared.schedule.type,
                    error,
                    declared.schedule.domain,
                )
            return now_ms + MAX_LATE_MS
        except Exception:
            # Of middleware, or of the keys of a subject. It must not end the dispatcher's turn,
            # which also serves the handlers and sends the heartbeat.
            if name not in self._failing:
                self._failing.add(name)
                logger.exception(
                    "celeriac: the tick of the schedule %s of %s cannot be emitted; retrying",
                    name,
                    declared.schedule.type,
                )
            return now_ms + LOOK_AGAIN_MS

    def _tick(self, store: ScheduleStore, declared: DeclaredSchedule, now_ms: int) -> int:
        schedule = declared.schedule
        ticked = self._read(store, declared, now_ms)
        for _ in range(MAX_TICKS):
            stored = ticked.stored
            if stored is None or not ticked.is_own:
                return now_ms + LOOK_AGAIN_MS
            due = due_tick(schedule.ticks, schedule.missed, stored.next_ms, now_ms)
            if due is None:
                return stored.next_ms
            if due.tick_ms is None:
                ticked = store.tick(
                    schedule,
                    expected_ms=stored.next_ms,
                    next_ms=due.next_ms,
                    dropped=due.dropped,
                )
            else:
                ticked = _emit(store, declared, stored, due, due.tick_ms)
            now_ms = store.now_ms()
        return now_ms

    def _read(self, store: ScheduleStore, declared: DeclaredSchedule, now_ms: int) -> Ticked:
        """Return what is stored, declared by this worker if no running worker does."""
        schedule = declared.schedule
        if schedule.name not in self._look_at:
            backend = self._service.backend
            backend.event_log.register_domains([schedule.domain], bounded=False)
            return store.declare(schedule, schedule.ticks.next_after(now_ms))
        ticked = store.read(schedule)
        stored = ticked.stored
        if stored is None:
            # Removed by an operator: a restart declares it again.
            return ticked
        if not ticked.is_own and now_ms - stored.next_ms > MAX_LATE_MS:
            # Other code declared it, and none of its workers runs any more, as after a deploy.
            return store.declare(schedule, schedule.ticks.next_after(now_ms))
        return ticked


def _emit(
    store: ScheduleStore,
    declared: DeclaredSchedule,
    stored: StoredSchedule,
    due: Due,
    tick_ms: int,
) -> Ticked:
    answer: list[Ticked] = []

    def append(body: bytes, kind: EntryKind) -> bool:
        ticked = store.tick(
            declared.schedule,
            expected_ms=stored.next_ms,
            next_ms=due.next_ms,
            tick_ms=tick_ms,
            body=body,
            kind=kind,
            dropped=due.dropped,
        )
        answer.append(ticked)
        return ticked.is_fired

    declared.emit(tick_ms, append)
    return answer[0]
