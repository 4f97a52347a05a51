"""`celeriac scale`"""

from __future__ import annotations

import pytest

from celeriac.schedule.schedule import make_schedule
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop


def test_an_idle_service_needs_none(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    answer = run("scale", "billing")
    assert answer.exit_code == 0
    assert answer.out.startswith("billing needs 0 workers.\n- nothing runs within 300 s\n")
    assert "billing.charge" in answer.out


def test_a_backlog_needs_workers_and_the_calculation_is_shown(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    monkeypatch.setattr(
        shop.backend.deliveries,
        "stats_many",
        lambda groups: [{"mean_us": 500_000} for _ in groups],
    )
    for _ in range(130):
        shop.emit("order.placed")
    answer = run("scale", "billing", "--processes", "2", "--drain-target", "10")
    assert answer.out.startswith(
        "billing needs 4 workers.\n"
        "- 65 s of work / 10 s drain target / 2 per worker = 3.25 workers\n"
    )
    row = next(line.split() for line in answer.out.splitlines() if "500 ms" in line)
    assert row == ["billing.charge", "130", "·", "·", "·", "·", "·", "500", "ms", "65", "s"]
    capped = run("scale", "billing", "--processes", "2", "--drain-target", "10", "--max", "3")
    assert "billing needs 3 workers." in capped.out
    assert "- limited to 3 of 4 workers" in capped.out
    assert max(map(len, answer.out.splitlines())) <= 80


def test_json_has_the_answer_and_what_it_was_computed_from(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed", concurrency=4)
    shop.on("billing.slow", "order.placed", queue="slow")
    shop.start()
    shop.emit("order.placed")
    document = run("scale", "billing", "--json", "--queue", "billing").json
    assert (document["service"], document["workers"], document["processes"]) == ("billing", 1, 1)
    [handler] = document["handlers"]
    assert (handler["handler"], handler["ahead"], handler["backlog"]) == ("billing.charge", 1, 1)
    assert handler["concurrency"] == 4


def test_an_unknown_service_ends_with_1(run: Run) -> None:
    answer = run("scale", "billing")
    assert answer.exit_code == 1
    assert answer.err.startswith("Error: service not found: billing. ")


@pytest.mark.parametrize(
    "options",
    [("--drain-target", "0"), ("--cooldown", "-1"), ("--processes", "0"), ("--max", "-1")],
)
def test_a_number_out_of_range_ends_with_2(run: Run, options: tuple[str, str]) -> None:
    answer = run("scale", "billing", *options)
    assert answer.exit_code == 2
    assert f"{options[0].removeprefix('--').replace('-', '_')} is out of range" in answer.err


def test_due_ticks_are_named(shop: Shop, run: Run) -> None:
    shop.backend.event_log.register_domains(["report"])
    schedule = make_schedule("report.due", service="reports", every=3600)
    now = shop.backend.registry.now_ms()
    shop.backend.schedules.declare(schedule, now + 60_000)
    answer = run("scale", "reports")
    assert "reports needs 1 worker." in answer.out
    assert "- reports:report.due: a tick is due within 300 s" in answer.out
    [tick] = run("scale", "reports", "--json").json["ticks"]
    assert tick["due_ms"] == now + 60_000
    assert tick["due"].endswith("Z")
