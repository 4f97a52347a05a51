"""`celeriac status`"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from celeriac.cli.circuit import circuit_text
from celeriac.cli.group import MISSING
from celeriac.cli.json_output import iso, json_option, print_json
from celeriac.cli.reveal import reveal_option, shown_data
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console, run_time, state_text, table, when
from celeriac.cli.source import source_option
from celeriac.cli.terminal import echo, make_console
from celeriac.dead_letter import ErasedData, restart_text
from celeriac.delivery import Restart
from celeriac.tracking import Cell, DeliveryState, EventStatus, Located, Matrix

if TYPE_CHECKING:
    from rich.console import Console

MAX_SHOWN = 20  # events of one id


@click.command()
@click.argument("event_id")
@source_option
@click.option("--deep", is_flag=True, help="Search all events if it is not found otherwise.")
@json_option
@reveal_option
@pass_session
@click.pass_context
def status(
    ctx: click.Context,
    session: Session,
    event_id: str,
    source: str | None,
    deep: bool,
    as_json: bool,
    reveal: bool,
) -> None:
    """Show where an event is, and the state of each delivery.

    If several sources used the id, shows each event.
    """
    located = _search(session.matrix, event_id, source, deep)
    events = [_status(session, item, reveal) for item in located]
    if as_json:
        print_json(events)
    else:
        now = session.backend.registry.now_ms()
        for n, event in enumerate(events[:MAX_SHOWN]):
            if n:
                echo()
            _show(event, now)
            _show_circuits(event, session, now)
        if len(events) > MAX_SHOWN:
            echo(f"\nand {len(events) - MAX_SHOWN:,} more with this id; select one with --source")
    if any(event.has(DeliveryState.MISSING) for event in events):
        ctx.exit(MISSING)


def _search(matrix: Matrix, event_id: str, source: str | None, deep: bool) -> list[Located]:
    if not deep:
        return matrix.find_all(event_id, source=source)
    from rich.progress import Progress

    # Without a total: counting the events of a large bus takes too long.
    with Progress(console=make_console(err=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("reading the logs", total=None)

        def show(read: int) -> None:
            progress.update(bar, description=f"read {read:,} events")

        return matrix.find_all(event_id, source=source, deep=True, progress=show)


def _status(session: Session, located: Located, reveal: bool) -> EventStatus:
    status = session.matrix.status_of(located)
    if reveal:
        return msgspec.structs.replace(status, data=located.event.data)
    erased = ErasedData(session.backend).text_of(located.event)
    return status if erased is None else msgspec.structs.replace(status, data=erased)


def _show(event: EventStatus, now_ms: int) -> None:
    from rich.text import Text

    out = console()
    subject = f"  {event.subject}" if event.subject else ""
    out.print(Text.assemble((event.type, "bold"), subject))
    delayed = event.location == "delayed"
    facts = {
        "id": event.id,
        "source": event.source,
        "delayed to" if delayed else "emitted": when(event.time_ms, now_ms=now_ms),
        "entry": "" if delayed else f"{event.entry} of {event.domain}",
        "tenant": event.tenant,
        "only for": ", ".join(event.handlers),
        "cause": event.causationid,
        "correlation": event.correlationid,
        "data": shown_data(event.data),
    }
    for name, fact in facts.items():
        if fact:
            out.print(Text.assemble((f"  {name:<12}", "dim"), " ", fact), soft_wrap=True)
    out.print()
    if not event.cells:
        out.print("No handler is subscribed to it.")
        return
    table(
        ("handler", "state", "attempts", "took", "worker", "when"),
        [
            (
                cell.handler,
                state_text(cell.state),
                cell.attempts,
                run_time(cell.took_us),
                cell.worker,
                _when(cell, now_ms),
            )
            for cell in event.cells
        ],
        right=("attempts", "took"),
        fold={"handler": 16, "worker": 12, "when": 12},
        shed=("worker", "took"),
    )
    failed = [cell for cell in event.cells if cell.failures]
    for cell in failed:
        out.print()
        out.print(Text(cell.handler, style="bold"))
        restarts = {restart.life: restart for restart in cell.restarts if not restart.edited}
        for failure in cell.failures:
            _show_restart(out, restarts.pop(failure.life, None))
            head = f"  attempt {failure.attempt}  {iso(failure.at)[11:19]}  "
            out.print(Text.assemble((head, "dim"), (failure.error, "red")), soft_wrap=True)
        for life in sorted(restarts):
            _show_restart(out, restarts[life])
        for edit in cell.restarts:
            _show_restart(out, edit if edit.edited else None)


def _when(cell: Cell, now_ms: int) -> str:
    if cell.into is not None:
        return f"into {cell.into}"
    return f"again at {when(cell.due_ms, now_ms=now_ms)}" if cell.due_ms else when(cell.at_ms)


def _show_restart(out: Console, restart: Restart | None) -> None:
    if restart is not None:
        from rich.text import Text

        text = restart_text(restart)
        if restart.edited:
            text += f" → {restart.edited}"
        out.print(Text(f"  {text}  {iso(restart.at)[11:19]}", style="dim"), soft_wrap=True)


def _show_circuits(event: EventStatus, session: Session, now_ms: int) -> None:
    """Print the circuits that are not closed of unfinished deliveries."""
    circuits = session.backend.circuits.all()
    for cell in event.cells:
        circuit = circuits.get(cell.handler)
        if circuit is not None and cell.state not in (
            DeliveryState.PROCESSED,
            DeliveryState.SKIPPED,
            DeliveryState.DEAD,
        ):
            echo(f"\n{cell.handler} {circuit_text(circuit, now_ms)}")
