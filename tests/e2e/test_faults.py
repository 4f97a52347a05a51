"""The quick selection of the fault matrix, judged by its goals, and one row with stock Celery."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

pytestmark = pytest.mark.filterwarnings("default:measured again, alone")


@dataclass
class Proof:
    """Measures rows, together with other rows."""

    directory: Path
    alone: Callable[[], None]

    def row(self, fault: Fault, rabbits: Sequence[EmbeddedRabbit] = ()) -> Row:
        """Where only the recovery time is too long, or the moment for the fault did not come, it is
        measured again, without other tests. Nothing else may be missed."""
        row = run(fault, self.directory / "1", full=False, stock=False, rabbits=rabbits)
        if row.failed.startswith(("recovered in", "nothing was injected")):
            warnings.warn(f"measured again, alone: {fault.name}: {row.failed}", stacklevel=1)
            self.alone()
            row = run(fault, self.directory / "2", full=False, stock=False, rabbits=rabbits)
        return row


@pytest.fixture
def proof(tmp_path: Path, alone: Callable[[], None]) -> Proof:
    return Proof(tmp_path, alone)


@pytest.mark.waiting
@pytest.mark.timeout(360)
@pytest.mark.parametrize("name", [*QUICK, *LONG])
def test_a_fault_loses_doubles_and_delays_no_more_than_is_promised(name: str, proof: Proof) -> None:
    [fault] = [fault for fault in chosen(full=True) if fault.name == name]
    row = proof.row(fault)
    assert row.ok, row
    assert row.injected and row.deliveries
    assert (row.lost, row.effects_doubled, row.unexplained) == (0, 0, 0)


@pytest.mark.waiting
@pytest.mark.timeout(360)
@pytest.mark.parametrize("name", [*OF_RABBITMQ, *LONG_OF_RABBITMQ])
def test_so_it_is_with_the_queues_in_rabbitmq(
    name: str, proof: Proof, rabbit: EmbeddedRabbit
) -> None:
    [fault] = [fault for fault in chosen(full=True, broker=RABBITMQ) if fault.name == name]
    row = proof.row(fault, (rabbit, rabbit))
    assert row.ok, row


@pytest.mark.waiting
@pytest.mark.timeout(360)
def test_the_effects_of_killed_workers_happen_once_by_the_inbox_alone_on_postgresql(
    proof: Proof,
) -> None:
    """Its handler has no unique key; the row in SQLite is among the quick ones."""
    [fault] = chosen(full=True, only="worker group: SIGKILL, inbox in PostgreSQL")
    row = proof.row(fault)
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
