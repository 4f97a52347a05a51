"""`celeriac schedules`"""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from celeriac.cli import show
from celeriac.dead_letter import audit_log
from celeriac.event import build_event, encode
from celeriac.schedule import Schedule, make_schedule
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop

HOUR_MS = 3_600_000


@pytest.fixture
def hourly(shop: Shop) -> Schedule:
    """It ticked once, and ticks next within the hour."""
    schedule = make_schedule("report.due", service="reports", cron="0 * * * *", tz="Europe/Berlin")
    schedules, now = shop.backend.schedules, shop.backend.registry.now_ms()
    shop.backend.event_log.register_domains(["report"])
    last = schedule.ticks.last_until(now)
    schedules.declare(schedule, last)
    body = encode(build_event("report.due", None, source="reports", id=schedule.event_id(last)))
    schedules.tick(
        schedule,
        expected_ms=last,
        next_ms=schedule.ticks.next_after(now),
        tick_ms=last,
        body=body,
    )
    return schedule


def test_it_lists_times_and_ticks(run: Run, hourly: Schedule) -> None:
    shown = run("schedules").out
    assert "reports:report.due" in shown and "0 * * * * Europe/Berlin" in shown
    assert "overdue" not in shown
    [one] = run("schedules", "--json").json
    assert (one["cron"], one["missed"], one["fired"]) == ("0 * * * *", "last", 1)
    assert one["overdue"] is False and one["next_ms"] > one["last_ms"]
    assert one["last_event"] == hourly.event_id(one["last_ms"])
    [event] = run("status", one["last_event"], "--json").json
    assert event["type"] == "report.due"


def test_one_that_no_worker_emits_is_overdue(run: Run, shop: Shop, hourly: Schedule) -> None:
    late = make_schedule("late.due", service="reports", every=60)
    shop.backend.event_log.register_domains(["late"])
    shop.backend.schedules.declare(late, shop.backend.registry.now_ms() - HOUR_MS)
    overdue = {one["name"]: one["overdue"] for one in run("schedules", "--json").json}
    assert overdue == {"report.due": False, "late.due": True}
    shown = run("schedules").out
    assert "overdue" in shown and "every 60 s" in shown and "never" in shown


def test_a_terminal_of_80_columns_shows_the_whole_times(
    run: Run, shop: Shop, hourly: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = make_schedule("stock.check_due", service="reports", every=60)
    shop.backend.event_log.register_domains(["stock"])
    shop.backend.schedules.declare(late, shop.backend.registry.now_ms() - HOUR_MS)
    out = StringIO()
    monkeypatch.setattr(show, "console", lambda: Console(file=out, width=80))
    run("schedules")
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert all(len(line) <= 80 for line in lines)
    last = run("schedules", "--json").json[0]["last"]
    day, time = last[:10], last[11:19]
    [at] = [n for n, line in enumerate(lines) if line.startswith("reports:report.due")]
    assert day in lines[at] and time in lines[at + 1]
    assert "overdue" in out.getvalue() and lines[0].endswith("ticks")


def test_doctor_names_one_that_no_worker_emits(run: Run, shop: Shop, hourly: Schedule) -> None:
    def found() -> list[tuple[str, str]]:
        findings = run("doctor", "--json").json["findings"]
        return [(one["level"], one["text"]) for one in findings if one["check"] == "schedule"]

    assert found() == [("ok", "1 schedule without an overdue tick")]
    late = make_schedule("report.late", service="reports", every=60)
    shop.backend.schedules.declare(late, shop.backend.registry.now_ms() - HOUR_MS)
    [(level, text)] = found()
    assert level == "warn" and text.startswith("reports:report.late is 60 min overdue: no running")


def test_remove_prompts_warns_and_is_audited(run: Run, shop: Shop, hourly: Schedule) -> None:
    declined = run("schedules", "remove", "reports:report.due", input="n\n")
    assert declined.exit_code == 1 and "If a worker still has it" in declined.err
    assert len(run("schedules", "--json").json) == 1
    removed = run("schedules", "remove", "reports:report.due", "--yes")
    assert removed.out == "reports:report.due is removed.\n"
    assert run("schedules", "--json").json == []
    [entry] = audit_log(shop.backend)
    assert (entry.note.did, entry.note.what) == ("remove schedule", "reports:report.due")
    gone = run("schedules", "remove", "reports:report.due", "--yes")
    assert gone.exit_code == 1 and "The schedules are none" in gone.err


def test_without_schedules_it_shows_how_to_declare_one(run: Run) -> None:
    assert "bus.schedule" in run("schedules").out
