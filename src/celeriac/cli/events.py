"""`celeriac events`"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import click

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import STYLES, set_columns, table, when
from celeriac.cli.terminal import echo
from celeriac.cli.time_param import since_option
from celeriac.tracking import DeliveryState, EventStatus

if TYPE_CHECKING:
    from rich.text import Text


@click.command()
@click.option("--type", "pattern", metavar="PATTERN", help="Event types: order.*, #.failed")
@click.option(
    "--state",
    type=click.Choice([state.value for state in DeliveryState]),
    help="With a delivery in this state.",
)
@click.option("--subject", metavar="TEXT", help="Subjects that begin with the text: order/42")
@click.option("--tenant", metavar="NAME", help="Events of this tenant: acme")
@since_option("Emitted since: 2026-11-23T07:00Z, or 15m.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number."
)
@json_option
@pass_session
def events(
    session: Session,
    pattern: str | None,
    state: str | None,
    subject: str | None,
    tenant: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the newest events and the progress of their handlers."""
    wanted = None if state is None else DeliveryState(state)
    page = session.matrix.newest(
        pattern=pattern, limit=limit, since=since, state=wanted, subject=subject, tenant=tenant
    )
    page_events = page.events
    if as_json:
        print_json(list(page_events))
    elif not page_events:
        echo("No events.")
    else:
        headers, rows = set_columns(
            ("emitted (UTC)", "id", "type", "tenant", "subject", "handlers"),
            [_row(event) for event in page_events],
            optional="tenant",
        )
        table(
            headers,
            rows,
            fold={"id": 36, "type": 12, "tenant": 10, "subject": 10, "handlers": 28},
            shed=("emitted (UTC)", "subject"),
        )
    if not page.full:
        echo(
            f"Searched the newest {page.read} events only, back to {when(page.searched_ms)}. "
            "Use --since to search further back.",
            err=True,
        )


def _row(event: EventStatus) -> tuple[object, ...]:
    subject = event.subject or ""
    return when(event.time_ms), event.id, event.type, event.tenant, subject, _summary(event)


def _summary(event: EventStatus) -> Text:
    """Return, for example, `2 processed, 1 dead`, and a line for each dead delivery below it."""
    from rich.text import Text

    states = Counter(cell.state for cell in event.cells)
    if not states:
        return Text("none", style="dim")
    parts = [Text(f"{states[s]} {s}", style=STYLES[s]) for s in DeliveryState if s in states]
    summary = Text(", ").join(parts)
    for cell in event.cells:
        if cell.error is not None and cell.state is DeliveryState.DEAD:
            summary.append(f"\n{cell.handler}: {cell.error}", STYLES[DeliveryState.DEAD])
    return summary
