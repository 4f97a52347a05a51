"""Runs one fault on celeriac and on stock Celery at the same time, and makes the row."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from celeriac.dispatcher.pending import RECLAIM_INTERVAL
from devtools.faults.fault import RABBITMQ, REDIS, Fault
from devtools.faults.row import Row, Tally
from devtools.faults.scene import Scene, Skipped
from devtools.faults.settle import settle, settle_stock
from devtools.faults.side import Ours, Stock
from devtools.rabbitmq import EmbeddedRabbit

QUICK_TIMES, FULL_TIMES = 2, 3
WORKING_OFF = 1.5  # seconds for what lay before the workers at that time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault on one of the two systems."""

    tally: Tally
    injected: int
    failing: int
    healed: float | None
    held: int
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

    `rabbits` are a node for celeriac and one for stock Celery, where RabbitMQ is to be the broker.
    """
    one, other = rabbits or (None, None)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        theirs: Future[Outcome] | None = None
        if stock and fault.stock:
            theirs = pool.submit(_run_stock, fault, directory / "stock", full, other)
        ours = pool.submit(_run_ours, fault, directory / "celeriac", full, one)
        row = _row(
            fault, ours, theirs, lambda: time.monotonic() - began, RABBITMQ if rabbits else REDIS
        )
    return row


def _scene(
    fault: Fault,
    kind: type[Ours] | type[Stock],
    directory: Path,
    full: bool,
    rabbit: EmbeddedRabbit | None,
) -> Scene:
    directory.mkdir(parents=True)
    times = 1 if fault.once else FULL_TIMES if full else QUICK_TIMES
    return Scene(
        kind,
        directory,
        domains=fault.domains,
        lease=fault.lease,
        visibility=fault.visibility,
        times=times,
        server=fault.server,
        rabbit=rabbit,
        on_postgresql=fault.postgresql,
    )


def _run_ours(fault: Fault, directory: Path, full: bool, rabbit: EmbeddedRabbit | None) -> Outcome:
    scene = _scene(fault, Ours, directory, full, rabbit)
    try:
        fault.inject(scene)
        healed = settle(scene, fault.bound)
        return _outcome(scene, healed)
    finally:
        scene.close()


def _run_stock(fault: Fault, directory: Path, full: bool, rabbit: EmbeddedRabbit | None) -> Outcome:
    scene = _scene(fault, Stock, directory, full, rabbit)
    try:
        fault.inject(scene)
        settle_stock(scene, fault.bound)
        return _outcome(scene, None)
    finally:
        scene.close()


def _outcome(scene: Scene, healed: float | None) -> Outcome:
    notes = list(scene.notes)
    late = scene.late()
    if late and not scene.ours:
        notes.append(f"{late} neither done nor lost, still in the queue")
    if scene.restarted:
        notes.append(f"{scene.restarted} worker exits")
    return Outcome(
        tally=scene.count(),
        injected=scene.injected,
        failing=len(scene.failing),
        healed=healed,
        held=scene.side.held(),
        exits=scene.restarted,
        server=scene.server.version,
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
    failed, found, stock = "", None, None
    try:
        found = ours.result()
        failed = _fault_of(fault, found)
        notes += found.notes
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
        injected=found.injected if found else 0,
        deliveries=found.tally.deliveries if found else 0,
        lost=found.tally.lost if found else None,
        effects_doubled=found.tally.effects_doubled if found else None,
        executions_doubled=found.tally.executions_doubled if found else None,
        unexplained=found.tally.unexplained if found else None,
        dead=found.tally.dead if found else None,
        heal=round(found.healed, 1) if found and found.healed is not None else None,
        lease=fault.lease,
        stock_deliveries=stock.tally.deliveries if stock else None,
        stock_lost=stock.tally.lost if stock else None,
        stock_doubled=stock.tally.executions_doubled if stock else None,
        broker=broker,
        server=found.server if found else "",
        works=fault.works,
        note="; ".join(notes),
        failed=failed,
        seconds=round(seconds(), 1),
    )


def _most_to_heal(lease: float) -> float:
    """A lease, the dispatchers' next look for leases that are over, and the work itself."""
    return lease * (1 + RECLAIM_INTERVAL) + WORKING_OFF


def _fault_of(fault: Fault, found: Outcome) -> str:
    """What the row shows that must not be; empty where all is as promised."""
    tally = found.tally
    if found.healed is None and found.held:
        return f"not settled within {fault.bound:g} s, {found.held} still in flight"
    if tally.lost:
        return f"{tally.lost} lost"
    if found.healed is None:
        return f"not settled within {fault.bound:g} s"
    if tally.dead != found.failing:
        return f"{tally.dead} dead letters instead of {found.failing}"
    if tally.effects_doubled:
        return f"{tally.effects_doubled} guarded effects doubled"
    if tally.unexplained:
        return f"{tally.unexplained} executions doubled of what ran in no process that died"
    if not fault.works and found.healed > _most_to_heal(fault.lease):
        return f"healed in {found.healed:.1f} s, more than a lease of {fault.lease:g} s"
    if found.exits and not fault.exits:
        return f"{found.exits} workers ended by themselves"
    if not found.injected:
        return "nothing was injected"
    return ""
