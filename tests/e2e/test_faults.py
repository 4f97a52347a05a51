"""The fault matrix itself: its quickest rows, on celeriac and on stock Celery."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac.dev.faults.run import run
from celeriac.dev.faults.table import chosen


@pytest.mark.parametrize("name", ["input: not JSON", "input: schema-invalid"])
def test_what_is_no_good_event_ends_as_dead_letters_and_stops_nothing(
    name: str, tmp_path: Path
) -> None:
    [fault] = chosen(full=True, only=name)
    row = run(fault, tmp_path, full=False, stock=False)
    assert row.ok, row
    assert row.dead == row.injected > 0
    assert (row.lost, row.effects_doubled, row.executions_doubled) == (0, 0, 0)


def test_a_queue_that_is_deleted_costs_stock_celery_its_messages_and_celeriac_none(
    tmp_path: Path,
) -> None:
    [fault] = chosen(full=True, only="Celery queue deleted")
    row = run(fault, tmp_path, full=False, stock=True)
    assert row.ok, row
    assert row.lost == 0
    assert row.stock_lost
    assert row.heal is not None
