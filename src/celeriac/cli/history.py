"""`celeriac history`"""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import click
import msgspec

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console, run_time, state_text, when
from celeriac.cli.source import source_option
from celeriac.cli.terminal import echo
from celeriac.dead_letter import Step, history_of
from celeriac.tracking import EventStatus

INDENT = 21  # columns, below the time


@click.command()
@click.argument("event_id")
@click.argument("handler", required=False)
@source_option
@json_option
@pass_session
def history(
    session: Session, event_id: str, handler: str | None, source: str | None, as_json: bool
) -> None:
    """List every attempt of an event, and who redrove or replayed it.

    Lists all series of attempts of each delivery in order: those before a redrive or replay and
    those after it, with the operator and the reason. With HANDLER, lists only its attempts.
    """
    if handler is not None:
        session.handler(handler)
    matrix = session.matrix
    events = [matrix.status_of(located) for located in matrix.find_all(event_id, source=source)]
    if as_json:
        print_json([_plain(event, history_of(event, handler)) for event in events])
        return
    for n, event in enumerate(events):
        if n:
            echo()
        _show(event, history_of(event, handler))


def _show(event: EventStatus, steps: list[Step]) -> None:
    """Print two lines for a step: what happened and where, then the error or the reason."""
    from rich.text import Text

    out = console()
    about = " ".join(filter(None, (event.type, event.subject, event.id)))
    out.print(Text(about, style="bold"), soft_wrap=True)
    names = max((len(step.handler) for step in steps), default=0)
    for step in steps:
        head = (f"{_time(step):<19}  ", "dim"), f"{step.handler:<{names}}  "
        did = state_text(step.did, f"{_what(step):<13} ")
        out.print(Text.assemble(*head, did, (_how(step), "dim")), soft_wrap=True)
        width = max(30, out.width - INDENT)
        for line in wrap(_why(step), width, break_on_hyphens=False, break_long_words=False):
            out.print(Text(" " * INDENT + line), soft_wrap=True)


def _time(step: Step) -> str:
    if step.at_ms is not None:
        return when(step.at_ms)
    return f"at {when(step.due_ms)}" if step.due_ms is not None else "now"


def _what(step: Step) -> str:
    return step.did if step.attempt is None else f"{step.did} ({step.attempt})"


def _how(step: Step) -> str:
    by = f"by {step.actor}" if step.actor else ""
    via = f"in {step.via}" if step.via else ""
    ran = run_time(step.took_us)
    on = f"on {step.worker}" if step.worker else ""
    return " ".join(filter(None, (by, via, ran, on)))


def _why(step: Step) -> str:
    edited = f"→ {step.edited}" if step.edited else ""
    return " ".join(filter(None, (step.reason or step.error or "", edited)))


def _plain(event: EventStatus, steps: list[Step]) -> dict[str, Any]:
    names = ("id", "type", "source", "subject", "domain", "entry")
    return {
        **{name: getattr(event, name) for name in names},
        "steps": [msgspec.to_builtins(step) for step in steps],
    }
