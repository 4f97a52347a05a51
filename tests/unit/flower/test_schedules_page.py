"""What the page of schedules reads."""

from __future__ import annotations

from celeriac.flower.view.schedules import MAX_SCHEDULES, read_schedules
from celeriac.schedule import make_schedule
from celeriac.settings import Settings
from tests.unit.tracking.shop import memory_backend

HOUR_MS = 3_600_000


def test_overdue_schedules_come_first_and_many_are_counted() -> None:
    backend = memory_backend(Settings.load({}))
    backend.event_log.register_domains(["report"])
    now = backend.registry.now_ms()
    for n in range(MAX_SCHEDULES + 2):
        schedule = make_schedule("report.due", service="reports", name=f"n{n:03}", every=60)
        backend.schedules.declare(schedule, now - HOUR_MS if n == 200 else now + HOUR_MS)
    read = read_schedules(backend)
    assert [line.is_overdue for line in read.shown[:2]] == [True, False]
    assert read.shown[0].stored.name == "n200"
    assert (len(read.shown), read.more) == (MAX_SCHEDULES, 2)


def test_a_bus_without_schedules_has_none() -> None:
    assert read_schedules(memory_backend(Settings.load({}))).shown == []
