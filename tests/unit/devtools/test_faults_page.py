"""The page that is made of measured rows, and rows kept between runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from devtools.faults.page import COLUMNS, keep, load, page
from devtools.faults.row import Row

ROW = Row(
    fault="worker group: SIGKILL",
    injected=4,
    deliveries=1200,
    lost=0,
    effects_doubled=0,
    executions_doubled=3,
    unexplained=0,
    dead=0,
    recovery=1.5,
    lease=3.0,
    stock_deliveries=None,
    stock_lost=None,
    stock_doubled=None,
    server="Valkey 9.1.2",
    seconds=90.0,
)


def test_kept_rows_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    assert load(path) == []
    other = replace(ROW, fault="link: cut", broker="rabbitmq")
    keep(path, ROW)
    keep(path, other)
    assert load(path) == [ROW, other]


def test_each_broker_has_its_table_and_all_are_counted() -> None:
    shown = page([ROW, replace(ROW, broker="rabbitmq")], "3.10.8")
    assert (
        shown.count("| worker group: SIGKILL | 4 | 1,200 | 0 | 0 | 3 | 0 | 0 | 1.5 | 3 | · |") == 2
    )
    assert shown.count(f"| {' | '.join(COLUMNS)} |") == 2
    assert "Valkey 9.1.2, RabbitMQ 3.10.8" in shown
    assert "2 rows, 2,400 deliveries, 0 lost." in shown
    assert "in 3 minutes on a machine of" in shown
    assert "Missed targets" not in shown


def test_a_missed_goal_is_reported_and_work_has_no_recovery_time() -> None:
    shown = page([replace(ROW, failed="healed in 9 s"), replace(ROW, works="a backlog")])
    assert "- worker group: SIGKILL (redis): healed in 9 s" in shown
    assert "| **worker group: SIGKILL** |" in shown
    assert "| worker group: SIGKILL | 4 | 1,200 | 0 | 0 | 3 | 0 | 0 | · | 3 |" in shown
