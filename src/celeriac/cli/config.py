"""`celeriac config`"""

from __future__ import annotations

from typing import Any

import click

from celeriac.bus_settings.record import format_number
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import table
from celeriac.cli.terminal import confirm, echo
from celeriac.cli.time_param import age_seconds
from celeriac.cli.user import user_name
from celeriac.dead_letter import record_setting
from celeriac.settings import BUS_WIDE, Settings

NAME = click.Choice(BUS_WIDE)
UNITS = {
    "retention": "s",
    "retention_count": "events",
    "dedup_window": "s",
    "dead_retention": "s",
    "max_dead_letters": "dead letters",
    "max_backlog": "events",
    "max_domains": "domains",
}
# Lowering one of these settings deletes data. 0 means no limit for the others.
KEEPS = ("retention", "retention_count", "dedup_window", "dead_retention", "max_dead_letters")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> None:
    """Show the settings that the whole bus shares. `set` and `reset` change one.

    The first worker writes them from its own settings. Afterwards every process uses the written
    settings, whatever its environment has.
    """
    if ctx.invoked_subcommand is None:
        session = ctx.find_object(Session)
        assert session is not None
        _show(session, as_json)


@config.command()
@json_option
@pass_session
def show(session: Session, as_json: bool) -> None:
    """Show every setting of the bus, and the value in this environment."""
    _show(session, as_json)


@config.command("set")
@click.argument("name", type=NAME, metavar="NAME")
@click.argument("value")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@pass_session
def set_value(session: Session, name: str, value: str, yes: bool, as_json: bool) -> None:
    """Change a setting for every process of the bus. Processes follow within seconds.

    A time is a number of seconds, or a duration such as 12h or 30d.
    """
    if UNITS[name] == "s" and (seconds := age_seconds(value)) is not None:
        value = str(seconds)
    _change(session, name, value, yes=yes, as_json=as_json)


@config.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@pass_session
def reset(session: Session, name: str, yes: bool, as_json: bool) -> None:
    """Reset a setting to its default for every process of the bus."""
    default = format_number(getattr(Settings(), name))
    _change(session, name, default, yes=yes, as_json=as_json)


def _change(session: Session, name: str, text: str, *, yes: bool, as_json: bool) -> None:
    bus = session.backend.bus
    bus.refresh()
    before = getattr(bus.current, name)
    if name in KEEPS and not yes and _is_lower(text, before):
        question = (
            f"Lower {name} from {format_number(before)} to {text}? Data beyond it is deleted."
        )
        confirm(question, abort=True)
    before, after = bus.set(name, text)
    what = f"{name}: {format_number(before)} to {format_number(after)}"
    if before != after:
        record_setting(session.backend, actor=user_name(), what=what)
    if as_json:
        print_json({"name": name, "before": before, "value": after})
    else:
        echo(f"{what}. Every process of the bus uses it within seconds.")


def _is_lower(text: str, before: float) -> bool:
    try:
        return float(text) < before
    except ValueError:  # invalid; the error of `bus.set` names the setting and its valid values
        return False


def _show(session: Session, as_json: bool) -> None:
    bus = session.backend.bus
    bus.refresh()
    rows = [_row(session, name) for name in BUS_WIDE]
    if as_json:
        print_json({"settings": rows, "faults": bus.record.faults})
        return
    table(
        ("setting", "value", "default", "unit", "here", "written"),
        [
            (
                row["name"],
                format_number(row["value"]),
                format_number(row["default"]),
                UNITS[row["name"]],
                "" if row["here"] is None else format_number(row["here"]),
                "yes" if row["written"] else "no",
            )
            for row in rows
        ],
        right=("value", "default", "here"),
    )
    for difference in bus.differences:
        echo(str(difference))
    for fault in bus.record.faults:
        echo(fault)
    if not bus.record.values:
        echo("No worker has started yet. The first worker writes its own settings.")


def _row(session: Session, name: str) -> dict[str, Any]:
    """Return one row. `here` is the value in this environment, None if it is not set there."""
    bus, settings = session.backend.bus, session.settings
    return {
        "name": name,
        "value": getattr(bus.current, name),
        "default": getattr(Settings(), name),
        "here": getattr(settings, name) if name in settings.given else None,
        "written": name in bus.record.values,
    }
