"""Schedules: events that are emitted at recurring times, each exactly once, without a leader."""

from celeriac.schedule.due import MAX_LATE_MS, Due, due_tick
from celeriac.schedule.schedule import Missed, Schedule, make_schedule
from celeriac.schedule.store import (
    DeclaredSchedule,
    ScheduleStore,
    StoredSchedule,
    Ticked,
    is_overdue,
)

__all__ = [
    "MAX_LATE_MS",
    "DeclaredSchedule",
    "Due",
    "Missed",
    "Schedule",
    "ScheduleStore",
    "StoredSchedule",
    "Ticked",
    "due_tick",
    "is_overdue",
    "make_schedule",
]
