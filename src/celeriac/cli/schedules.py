"""`celeriac schedules`"""

from __future__ import annotations

import click
import msgspec

from celeriac.cli.group import CommandError
from celeriac.cli.json_output import iso, json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import state_text, table, when
from celeriac.cli.terminal import confirm, echo
from celeriac.cli.user import user_name
from celeriac.dead_letter import Note
from celeriac.errors import NotFound
from celeriac.schedule import StoredSchedule, is_overdue
from celeriac.visible import listed


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def schedules(ctx: click.Context, as_json: bool) -> None:
    """List the schedules, with their last and next ticks. `remove` removes one."""
    if ctx.invoked_subcommand is None:
        session = ctx.find_object(Session)
        assert session is not None
        _list(session, as_json)


@schedules.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_session
def remove(session: Session, name: str, yes: bool) -> None:
    """Remove a schedule that no code declares any more. NAME is `service:name`."""
    stored = {_name(schedule): schedule for schedule in _read(session)}
    if name not in stored:
        known = listed(sorted(stored)) or "none"
        raise NotFound(f"schedule not found: {name}. The schedules are {known}.")
    schedule = stored[name]
    now = session.backend.registry.now_ms()
    if not is_overdue(schedule, now):
        echo(
            f"{name} ticks next at {when(schedule.next_ms)}. If a worker still has it, the worker "
            "declares it again when it starts.",
            err=True,
        )
    if not yes:
        confirm(f"Remove {name}?", abort=True)
    if not session.backend.schedules.remove(schedule):
        raise CommandError(f"{name} was removed by someone else.")
    note = Note(actor=user_name(), did="remove schedule", what=name, via="celeriac")
    session.backend.deliveries.record(schedule.domain, note.encode())
    echo(f"{name} is removed.")


def _read(session: Session) -> list[StoredSchedule]:
    backend = session.backend
    return backend.schedules.all(sorted(backend.event_log.domains()))


def _name(schedule: StoredSchedule) -> str:
    return f"{schedule.service}:{schedule.name}"


def _list(session: Session, as_json: bool) -> None:
    stored, now = _read(session), session.backend.registry.now_ms()
    if as_json:
        print_json([_plain(schedule, now) for schedule in stored])
    elif not stored:
        echo("No schedules. `bus.schedule` declares one; a worker stores it when it starts.")
    else:
        table(
            ("schedule", "event", "times", "missed", "last tick", "next tick", "ticks"),
            [
                (
                    _name(schedule),
                    schedule.type,
                    schedule.times,
                    schedule.missed,
                    when(schedule.last_ms) if schedule.last_ms else "never",
                    state_text("fail", f"{when(schedule.next_ms)} overdue")
                    if is_overdue(schedule, now)
                    else when(schedule.next_ms),
                    schedule.fired,
                )
                for schedule in stored
            ],
            right=("ticks",),
            fold={"schedule": 20, "event": 16, "times": 16, "last tick": 10, "next tick": 10},
            shed=("missed", "event"),
        )


def _plain(schedule: StoredSchedule, now_ms: int) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(schedule),
        "next": iso(schedule.next_ms),
        "last": iso(schedule.last_ms) if schedule.last_ms else None,
        "last_event": schedule.last_event_id or None,
        "overdue": is_overdue(schedule, now_ms),
    }
