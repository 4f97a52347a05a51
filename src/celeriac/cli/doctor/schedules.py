"""Check whether every schedule ticks."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, ok, warn
from celeriac.cli.show import count, duration
from celeriac.schedule import is_overdue


def check_schedules(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Report the schedules that no running worker emits."""
    overdue = [schedule for schedule in snapshot.schedules if is_overdue(schedule, snapshot.now_ms)]
    for schedule in overdue:
        name = f"{schedule.service}:{schedule.name}"
        late = duration((snapshot.now_ms - schedule.next_ms) / 1000)
        yield warn(
            "schedule",
            f"{name} is {late} overdue: no running worker of {schedule.service} emits its ticks",
            f"start a worker of {schedule.service}; if it is no longer in the code: "
            f"celeriac schedules remove {name}",
        )
    if snapshot.schedules and not overdue:
        yield ok(
            "schedule", f"{count(len(snapshot.schedules), 'schedule')} without an overdue tick"
        )
