"""Choosing faults, counting what came of them, and showing it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from devtools.faults import show
from devtools.faults.command import main
from devtools.faults.fault import RABBITMQ, REDIS
from devtools.faults.row import Row, count
from devtools.faults.store import Delivery, Run
from devtools.faults.table import FAULTS, chosen

ROW = Row(
    fault="Redis: restart",
    injected=2,
    deliveries=1200,
    lost=0,
    effects_doubled=0,
    executions_doubled=3,
    unexplained=0,
    dead=0,
    recovery=1.5,
    lease=3.0,
    stock_deliveries=1100,
    stock_lost=7,
    stock_doubled=None,
)
A, B, C = ("billing.a", "1"), ("billing.a", "2"), ("billing.b", "1")


def runs(*deliveries: Delivery) -> list[Run]:
    return [Run(one, 11, 1, n, n + 0.5) for n, one in enumerate(deliveries)]


def test_names_of_faults_are_unique_and_the_quick_ones_are_some_of_all() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    everything = set()
    for broker in (REDIS, RABBITMQ):
        quick, full = chosen(full=False, broker=broker), chosen(full=True, broker=broker)
        assert 0 < len(quick) < len(full) < len(FAULTS)
        assert all(fault in full for fault in quick)
        everything |= {fault.name for fault in full}
    assert everything == {fault.name for fault in FAULTS}


def test_only_chooses_by_part_of_the_name_whether_quick_or_not() -> None:
    assert [fault.name for fault in chosen(full=False, only="no such")] == []
    assert [fault.name for fault in chosen(full=False, only="FAILOVER to")] == [
        "Redis: failover to a replica"
    ]


def test_lost_is_what_has_neither_effect_nor_dead_letter() -> None:
    found = count([A, B, C], [B], dead=[B], remaining=[], runs=runs(A), effects=Counter([A]))
    assert (found.deliveries, found.lost, found.dead) == (3, 1, 1)


def test_what_the_system_still_holds_is_late_and_not_lost() -> None:
    found = count([A, B], [], dead=[], remaining=[B], runs=runs(A), effects=Counter([A]))
    assert found.lost == 0


def test_doubled_executions_and_effects_are_counted_apart() -> None:
    found = count([A, C], [], dead=[], remaining=[], runs=runs(A, A, A, C), effects=Counter([A, C]))
    assert (found.executions_doubled, found.effects_doubled) == (2, 0)
    found = count([A], [], dead=[], remaining=[], runs=runs(A, A), effects=Counter([A, A]))
    assert (found.executions_doubled, found.effects_doubled) == (1, 1)


def test_retries_of_a_handler_that_fails_by_design_are_no_doubled_executions() -> None:
    found = count([A], [A], dead=[A], remaining=[], runs=runs(A, A, A), effects=Counter())
    assert (found.lost, found.executions_doubled) == (0, 0)


def test_a_row_is_ok_only_with_nothing_lost_and_nothing_failed() -> None:
    assert ROW.ok
    assert not replace(ROW, lost=1).ok
    assert not replace(ROW, lost=None).ok
    assert not replace(ROW, failed="not settled").ok


def test_a_failed_row_is_marked_in_both_tables() -> None:
    failed = replace(ROW, failed="7 lost", note="a note")
    for shown in (show.text([failed]), show.markdown([failed])):
        assert "FAILED: 7 lost; a note" in shown
        assert "1,200" in shown


def test_list_names_faults_and_injects_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(chosen(full=False))


def test_an_unknown_name_is_an_error_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no such fault"]) == 2
    assert "--list" in capsys.readouterr().err
