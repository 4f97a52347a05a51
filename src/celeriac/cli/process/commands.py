"""`celeriac process`"""

from __future__ import annotations

import time
from datetime import datetime

import click

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.outbox.choice import OfDatabase, database_options, open_chosen
from celeriac.cli.process.draw import draw
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console, count, duration, state_text, table
from celeriac.cli.terminal import confirm, echo
from celeriac.cli.time_param import TimeParam
from celeriac.cli.user import user_name
from celeriac.dead_letter import Note
from celeriac.errors import NotFound
from celeriac.flow_control import stored_key
from celeriac.process.action import fire_now, open_instance, request_abort
from celeriac.process.decision import Status
from celeriac.process.query import counts, history, instances
from celeriac.process.total import total
from celeriac.process.view import view_of

STATUSES = [*(status.value for status in Status), "all"]


@click.group(cls=OfDatabase)
def process() -> None:
    """List, show and abort instances of processes.

    They are in the database of the service: the one of CELERIAC_OUTBOX_URL, or --database.
    """


@process.command("list")
@click.argument("handler", required=False, default="")
@click.option("--status", type=click.Choice(STATUSES), default=Status.OPEN.value, show_default=True)
@click.option(
    "--before",
    type=TimeParam(),
    metavar="TIME|DURATION",
    help="Only those that started before: 2d.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Maximum number."
)
@database_options
@json_option
@pass_session
def list_(
    session: Session,
    handler: str,
    status: str,
    before: datetime | None,
    limit: int,
    database: str | None,
    django: bool,
    as_json: bool,
) -> None:
    """List the instances of all processes, or of HANDLER; the oldest first."""
    chosen, _ = open_chosen(session.settings, database, django)
    rows = instances(
        chosen,
        handler=handler,
        status=None if status == "all" else Status(status),
        started_before_ms=None if before is None else int(before.timestamp() * 1000),
        limit=limit,
    )
    if as_json:
        print_json(rows)
        return
    now = time.time()
    if rows:
        table(
            ("process", "key", "status", "age", "last step", "steps", "timers", "reason"),
            [
                (
                    row.handler,
                    row.key,
                    state_text(row.status),
                    duration(now - row.started_ms / 1000),
                    duration(now - row.updated_ms / 1000),
                    row.steps,
                    ", ".join(row.timers),
                    row.reason,
                )
                for row in rows
            ],
            right=("age", "last step", "steps"),
            fold={"process": 12, "key": 12, "reason": 20, "timers": 12},
            shed=("timers", "steps", "last step"),
        )
        echo()
    totals = counts(chosen)
    console().print(", ".join(f"{total(totals, status)} {status}" for status in Status))


@process.command()
@click.argument("handler")
@click.argument("key")
@database_options
@json_option
@pass_session
def show(
    session: Session, handler: str, key: str, database: str | None, django: bool, as_json: bool
) -> None:
    """Show one instance: its state, timers, undo events, and what each event changed."""
    chosen, settings = open_chosen(session.settings, database, django)
    stored = history(chosen, handler, stored_key(key))
    if stored is None:
        raise NotFound(
            f"instance not found: {handler} {key}. List instances with `celeriac process list`."
        )
    view = view_of(stored, settings.sensitive_names)
    if as_json:
        print_json(view)
    else:
        draw(view)


@process.command()
@click.argument("handler")
@click.argument("key")
@click.option("--reason", required=True, metavar="TEXT", help="Stored with the instance.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@database_options
@pass_session
def abort(
    session: Session,
    handler: str,
    key: str,
    reason: str,
    yes: bool,
    database: str | None,
    django: bool,
) -> None:
    """Abort an open instance: its process emits the undo events, the newest first."""
    chosen, settings = open_chosen(session.settings, database, django)
    instance = open_instance(chosen, handler, stored_key(key))
    if not yes:
        undo = count(len(instance.undo), "undo event")
        confirm(f"Abort {handler} {key} and emit {undo}?", abort=True)
    note = _note("abort", f"{handler} {key}", reason)
    echo(request_abort(session.backend, settings, instance, note))


@process.command()
@click.argument("handler")
@click.argument("key")
@click.argument("timer")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@database_options
@pass_session
def remind(
    session: Session,
    handler: str,
    key: str,
    timer: str,
    yes: bool,
    database: str | None,
    django: bool,
) -> None:
    """Let a timer of an open instance expire now. The relay then emits its event."""
    chosen, _ = open_chosen(session.settings, database, django)
    instance = open_instance(chosen, handler, stored_key(key))
    if not yes:
        confirm(f"Let the timer {timer} of {handler} {key} expire now?", abort=True)
    fire_now(chosen, session.backend, instance, timer, _note("remind", f"{handler} {key} {timer}"))
    echo(f"{timer} expires now")


def _note(verb: str, what: str, reason: str = "") -> Note:
    return Note(actor=user_name(), did=verb, what=what, via="celeriac", reason=reason)
