"""celeriac status"""

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
from celeriac.cli.show import console, state_text, table, took, when
from celeriac.cli.source import source_option
from celeriac.cli.terminal import echo, make_console
from celeriac.dead_letter import restart_text
from celeriac.delivery import Restart
from celeriac.tracking import Cell, DeliveryState, EventStatus, Located, Matrix

if TYPE_CHECKING:
    from rich.console import Console

MAX_SHOWN = 20  # events of one id


@click.command()
@click.argument("event_id")
@source_option
@click.option("--deep", is_flag=True, help="Read the logs through where the event is not found.")
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
    """Where an event is, and what each handler did with it.

    Shows each event that has the id, where several sources used it.
    """
    located = _search(session.matrix, event_id, source, deep)
    found = [_status(session, one, reveal) for one in located]
    if as_json:
        print_json(found)
    else:
        now = session.backend.registry.now_ms()
        for n, one in enumerate(found[:MAX_SHOWN]):
            if n:
                echo()
            _show(one, now)
            _show_circuits(one, session, now)
        if len(found) > MAX_SHOWN:
            echo(f"\nand {len(found) - MAX_SHOWN:,} more with this id: --source chooses one")
    if any(one.has(DeliveryState.MISSING) for one in found):
        ctx.exit(MISSING)


def _search(matrix: Matrix, event_id: str, source: str | None, deep: bool) -> list[Located]:
    if not deep:
        return matrix.find_all(event_id, source=source)
    from rich.progress import Progress

    # Without a total: what is in the logs of a large bus takes a while to count.
    with Progress(console=make_console(err=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("reading the logs", total=None)

        def show(read: int) -> None:
            progress.update(bar, description=f"read {read:,} events")

        return matrix.find_all(event_id, source=source, deep=True, progress=show)


def _status(session: Session, located: Located, reveal: bool) -> EventStatus:
    status = session.matrix.status_of(located)
    return msgspec.structs.replace(status, data=located.event.data) if reveal else status


def _show(found: EventStatus, now_ms: int) -> None:
    from rich.text import Text

    out = console()
    out.print(Text.assemble((found.type, "bold"), "  ", found.subject or ""))
    postponed = found.place == "postponed"
    facts = {
        "id": found.id,
        "source": found.source,
        "postponed to" if postponed else "emitted": when(found.time_ms, now_ms=now_ms),
        "entry": "" if postponed else f"{found.entry} of {found.domain}",
        "only for": ", ".join(found.handlers),
        "cause": found.causationid,
        "correlation": found.correlationid,
        "data": shown_data(found.data),
    }
    for name, fact in facts.items():
        if fact:
            out.print(Text.assemble((f"  {name:<12}", "dim"), " ", fact), soft_wrap=True)
    out.print()
    if not found.cells:
        out.print("No handler takes part in it.")
        return
    table(
        ("handler", "state", "attempts", "took", "worker", "when"),
        [
            (
                cell.handler,
                state_text(cell.state),
                cell.attempts,
                took(cell.took_us),
                cell.worker,
                _when(cell, now_ms),
            )
            for cell in found.cells
        ],
        right=("attempts", "took"),
        fold={"handler": 16, "worker": 12, "when": 12},
        shed=("worker", "took"),
    )
    failed = [cell for cell in found.cells if cell.failures]
    for cell in failed:
        out.print()
        out.print(Text(cell.handler, style="bold"))
        begun = {one.life: one for one in cell.restarts if not one.edited}
        for failure in cell.failures:
            _show_restart(out, begun.pop(failure.life, None))
            head = f"  attempt {failure.attempt}  {iso(failure.at)[11:19]}  "
            out.print(Text.assemble((head, "dim"), (failure.error, "red")), soft_wrap=True)
        for life in sorted(begun):
            _show_restart(out, begun[life])
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


def _show_circuits(found: EventStatus, session: Session, now_ms: int) -> None:
    """Why nothing goes on, where a handler is paused."""
    circuits = session.backend.circuits.all()
    for cell in found.cells:
        circuit = circuits.get(cell.handler)
        if circuit is not None and cell.state not in (
            DeliveryState.PROCESSED,
            DeliveryState.SKIPPED,
            DeliveryState.DEAD,
        ):
            echo(f"\n{cell.handler} {circuit_text(circuit, now_ms)}")
