"""Runs one fault on celeriac and on stock Celery at the same time, and makes the row."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from celeriac.dispatcher.pending import RECLAIM_INTERVAL
from devtools.faults.drain import drain, drain_stock
from devtools.faults.fault import RABBITMQ, REDIS, Fault
from devtools.faults.row import Counts, Row
from devtools.faults.system import CeleriacSystem, CelerySystem
from devtools.faults.testbed import Skipped, Testbed
from devtools.rabbitmq import EmbeddedRabbit

QUICK_TIMES, FULL_TIMES = 2, 3
WORKING_OFF = 1.5  # seconds for what lay before the workers at that time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault on one of the two systems."""

    counts: Counts
    injected: int
    failing: int
    recovery: float | None
    in_flight: int
    exits: int
    server: str
    notes: tuple[str, ...]


def run(
    fault: Fault,
    directory: Path,
    *,
    full: bool,
    stock: bool,
    rabbits: Sequence[EmbeddedRabbit] = (),
) -> Row:
    """Ends by itself, and never raises: what goes wrong is in the row.

    `rabbits` are a node for celeriac and one for stock Celery, if RabbitMQ is the broker.
    """
    first, second = rabbits or (None, None)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        theirs: Future[Outcome] | None = None
        if stock and fault.stock:
            theirs = pool.submit(_run_stock, fault, directory / "stock", full, second)
        ours = pool.submit(_run_ours, fault, directory / "celeriac", full, first)
        row = _row(
            fault, ours, theirs, lambda: time.monotonic() - began, RABBITMQ if rabbits else REDIS
        )
    return row


def _scene(
    fault: Fault,
    kind: type[CeleriacSystem] | type[CelerySystem],
    directory: Path,
    full: bool,
    rabbit: EmbeddedRabbit | None,
) -> Testbed:
    directory.mkdir(parents=True)
    times = 1 if fault.once else FULL_TIMES if full else QUICK_TIMES
    return Testbed(
        kind,
        directory,
        domains=fault.domains,
        lease=fault.lease,
        visibility=fault.visibility,
        times=times,
        server=fault.server,
        rabbit=rabbit,
        database=fault.database,
    )


def _run_ours(fault: Fault, directory: Path, full: bool, rabbit: EmbeddedRabbit | None) -> Outcome:
    testbed = _scene(fault, CeleriacSystem, directory, full, rabbit)
    try:
        fault.inject(testbed)
        recovery = drain(testbed, fault.bound)
        return _outcome(testbed, recovery)
    finally:
        testbed.close()


def _run_stock(fault: Fault, directory: Path, full: bool, rabbit: EmbeddedRabbit | None) -> Outcome:
    testbed = _scene(fault, CelerySystem, directory, full, rabbit)
    try:
        fault.inject(testbed)
        drain_stock(testbed, fault.bound)
        return _outcome(testbed, None)
    finally:
        testbed.close()


def _outcome(testbed: Testbed, recovery: float | None) -> Outcome:
    notes = list(testbed.notes)
    late = testbed.late()
    if late and not testbed.ours:
        notes.append(f"{late} neither done nor lost, still in the queue")
    if testbed.restarted:
        notes.append(f"{testbed.restarted} worker exits")
    return Outcome(
        counts=testbed.count(),
        injected=testbed.injected,
        failing=len(testbed.failing),
        recovery=recovery,
        in_flight=testbed.system.in_flight(),
        exits=testbed.restarted,
        server=testbed.server.version,
        notes=tuple(notes),
    )


def _row(
    fault: Fault,
    ours: Future[Outcome],
    theirs: Future[Outcome] | None,
    seconds: Callable[[], float],
    broker: str,
) -> Row:
    notes: list[str] = []
    failed, outcome, stock = "", None, None
    try:
        outcome = ours.result()
        failed = _fault_of(fault, outcome)
        notes += outcome.notes
    except Skipped as skipped:
        failed = f"skipped: {skipped}"
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    try:
        stock = theirs.result() if theirs else None
        notes += [f"stock: {note}" for note in stock.notes] if stock else []
    except Exception as error:
        notes.append(f"stock: {type(error).__name__}: {str(error)[:100]}")
    return Row(
        fault=fault.name,
        injected=outcome.injected if outcome else 0,
        deliveries=outcome.counts.deliveries if outcome else 0,
        lost=outcome.counts.lost if outcome else None,
        effects_doubled=outcome.counts.effects_doubled if outcome else None,
        executions_doubled=outcome.counts.executions_doubled if outcome else None,
        unexplained=outcome.counts.unexplained if outcome else None,
        dead=outcome.counts.dead if outcome else None,
        recovery=round(outcome.recovery, 1) if outcome and outcome.recovery is not None else None,
        lease=fault.lease,
        stock_deliveries=stock.counts.deliveries if stock else None,
        stock_lost=stock.counts.lost if stock else None,
        stock_doubled=stock.counts.executions_doubled if stock else None,
        broker=broker,
        server=outcome.server if outcome else "",
        works=fault.works,
        note="; ".join(notes),
        failed=failed,
        seconds=round(seconds(), 1),
    )


def _max_recovery(lease: float) -> float:
    """A lease, the dispatchers' next look for leases that are over, and the work itself."""
    return lease * (1 + RECLAIM_INTERVAL) + WORKING_OFF


def _fault_of(fault: Fault, outcome: Outcome) -> str:
    """What the row shows that must not be; empty where all is as promised."""
    counts = outcome.counts
    if outcome.recovery is None and outcome.in_flight:
        return f"not finished within {fault.bound:g} s, {outcome.in_flight} still in flight"
    if counts.lost:
        return f"{counts.lost} lost"
    if outcome.recovery is None:
        return f"not finished within {fault.bound:g} s"
    if counts.dead != outcome.failing:
        return f"{counts.dead} dead letters instead of {outcome.failing}"
    if counts.effects_doubled:
        return f"{counts.effects_doubled} guarded effects doubled"
    if counts.unexplained:
        what = f"{counts.unexplained} executions doubled of what ran in no process that died"
        return "; ".join((what, *counts.shown))
    if not fault.works and outcome.recovery > _max_recovery(fault.lease):
        return f"recovered in {outcome.recovery:.1f} s, more than a lease of {fault.lease:g} s"
    if outcome.exits and not fault.exits:
        return f"{outcome.exits} workers ended by themselves"
    if not outcome.injected:
        return "nothing was injected"
    return ""
