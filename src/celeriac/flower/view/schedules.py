"""Schedules: each with its times, its last and its next tick."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import authenticated

from celeriac.flower.page import FlowerPage
from celeriac.schedule import StoredSchedule, is_overdue
from celeriac.store.factory import Backend

MAX_SCHEDULES = 500


@dataclass(frozen=True, slots=True)
class ScheduleLine:
    """One schedule. It is overdue if no running worker emits its ticks."""

    stored: StoredSchedule
    is_overdue: bool


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """The schedules on the page, the overdue ones first. `more` is the number not shown."""

    shown: list[ScheduleLine]
    more: int


class SchedulesPage(FlowerPage):
    name = "schedules"

    @authenticated
    async def get(self) -> None:
        read = await self.call(read_schedules, self.backend)
        self.show(schedules=read.shown, more_schedules=read.more, live_url=self.get_live_url())


def read_schedules(backend: Backend) -> ScheduleList:
    """Return the schedules of all domains. Blocks."""
    now = backend.registry.now_ms()
    stored = backend.schedules.all(sorted(backend.event_log.domains()))
    lines = [ScheduleLine(schedule, is_overdue(schedule, now)) for schedule in stored]
    lines.sort(key=lambda line: not line.is_overdue)
    return ScheduleList(lines[:MAX_SCHEDULES], max(0, len(lines) - MAX_SCHEDULES))
