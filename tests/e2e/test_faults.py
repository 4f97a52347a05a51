"""The quick selection of the fault matrix, judged by its goals, and stock Celery beside one row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from devtools.faults.fault import RABBITMQ, REDIS, Fault
from devtools.faults.row import Row
from devtools.faults.run import run
from devtools.faults.table import chosen
from devtools.rabbitmq import EmbeddedRabbit

QUICK = [fault.name for fault in chosen(full=False)]
OF_RABBITMQ = [f.name for f in chosen(full=False, broker=RABBITMQ) if REDIS not in f.on]
LONG = [
    "input: schema-invalid",
    "workers killed, and innocents",
    "link: half open, only worker",
]
LONG_OF_RABBITMQ = [
    "RabbitMQ: SIGKILL",
    "RabbitMQ: queue without a leader",
    "RabbitMQ: link half open, only worker",
    "worker group: SIGKILL",
    "worker main process: SIGKILL",
]


def proven(fault: Fault, directory: Path, rabbits: Sequence[EmbeddedRabbit] = ()) -> Row:
    """The row. Where only the recovery time is too long, it is measured once more: this machine may
    have had other work, and nothing else may ever be missed."""
    row = run(fault, directory / "1", full=False, stock=False, rabbits=rabbits)
    if row.failed.startswith("healed in"):
        row = run(fault, directory / "2", full=False, stock=False, rabbits=rabbits)
    return row


@pytest.mark.quiet
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_a_fault_loses_doubles_and_delays_no_more_than_is_promised(
    name: str, tmp_path: Path
) -> None:
    [fault] = [fault for fault in chosen(full=True) if fault.name == name]
    row = proven(fault, tmp_path)
    assert row.ok, row
    assert row.injected and row.deliveries
    assert (row.lost, row.effects_doubled, row.unexplained) == (0, 0, 0)


@pytest.mark.quiet
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", [*OF_RABBITMQ, *LONG_OF_RABBITMQ])
def test_so_it_is_with_the_queues_in_rabbitmq(
    name: str, tmp_path: Path, rabbit: EmbeddedRabbit
) -> None:
    [fault] = [fault for fault in chosen(full=True, broker=RABBITMQ) if fault.name == name]
    row = proven(fault, tmp_path, (rabbit, rabbit))
    assert row.ok, row


@pytest.mark.quiet
@pytest.mark.timeout(240)
def test_the_effects_of_killed_workers_happen_once_by_the_inbox_alone_on_postgresql(
    tmp_path: Path,
) -> None:
    """Its handler has no unique key; the row in SQLite is among the quick ones."""
    [fault] = chosen(full=True, only="worker group: SIGKILL, inbox in PostgreSQL")
    row = proven(fault, tmp_path)
    if row.failed.startswith("skipped") and not os.environ.get("CI"):
        pytest.skip(row.failed)
    assert row.ok, row


def test_a_queue_that_is_deleted_costs_stock_celery_its_messages_and_celeriac_none(
    tmp_path: Path,
) -> None:
    [fault] = chosen(full=True, only="Celery queue deleted")
    row = run(fault, tmp_path, full=False, stock=True)
    assert row.ok, row
    assert row.stock_lost
