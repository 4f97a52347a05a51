"""celeriac outbox"""

from __future__ import annotations

from typing import Any

import click

from celeriac.cli.document import json_option, print_json
from celeriac.cli.outbox.choice import OfDatabase, database_options, open_chosen
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import age, console, count, table, when
from celeriac.cli.terminal import confirm, echo
from celeriac.errors import NotFound
from celeriac.outbox import status as state
from celeriac.outbox.database import Database


@click.group(cls=OfDatabase)
def outbox() -> None:
    """Shows what waits in an outbox, and deals with what is parked."""


@outbox.command()
@database_options
@json_option
@pass_session
def status(session: Session, database: str | None, django: bool, as_json: bool) -> None:
    """How many events wait, for how long, and how many are parked."""
    chosen, _ = open_chosen(session.settings, database, django)
    found = state.status(chosen)
    if as_json:
        print_json(found)
        return
    oldest = f", the oldest for {age(found.oldest_s)}" if found.waiting else ""
    console().print(f"{count(found.waiting, 'event')} waiting{oldest}; {found.parked:,} parked")


@outbox.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most.")
@database_options
@json_option
@pass_session
def list_(session: Session, limit: int, database: str | None, django: bool, as_json: bool) -> None:
    """The events that could not be published, and why; the oldest first."""
    chosen, _ = open_chosen(session.settings, database, django)
    rows = state.parked(chosen, limit)
    if as_json:
        print_json(rows)
        return
    table(
        ("row", "parked (UTC)", "event", "domain", "error"),
        [(r.row, when(r.parked_ms), r.event_id, r.domain, r.error) for r in rows],
        right=("row",),
        fold={"event": 12, "error": 20},
        shed=("domain", "parked (UTC)"),
    )
    total = state.status(chosen).parked if len(rows) == limit else len(rows)
    if total > len(rows):
        echo(f"\n{len(rows):,} shown of {total:,}")


def _rows_command(name: str, done: str, help: str, act: Any) -> None:
    @outbox.command(name, help=help)
    @click.argument("rows", nargs=-1, type=int)
    @click.option("--all", "every", is_flag=True, help="All that are parked.")
    @click.option("--yes", is_flag=True, help="Does not ask.")
    @database_options
    @pass_session
    def command(
        session: Session,
        rows: tuple[int, ...],
        every: bool,
        yes: bool,
        database: str | None,
        django: bool,
    ) -> None:
        if bool(rows) == every:
            raise click.UsageError("name rows, or give --all")
        chosen, _ = open_chosen(session.settings, database, django)
        number = len(rows) if rows else state.status(chosen).parked
        _check(chosen, rows)
        if not yes:
            confirm(f"{name.capitalize()} {count(number, 'parked event')}?", abort=True)
        act(chosen, rows)
        echo(f"{count(number, 'event')} {done}")


def _check(database: Database, rows: tuple[int, ...]) -> None:
    known = {row.row for row in state.parked(database, most=1_000_000)} if rows else set()
    for row in rows:
        if row not in known:
            raise NotFound(f"row {row} is not parked: celeriac outbox list")


_rows_command("retry", "given back to the relay", "Gives parked events back to it.", state.retry)
_rows_command("discard", "discarded", "Removes parked events for good.", state.discard)
