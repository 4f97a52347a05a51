"""celeriac lag"""

from __future__ import annotations

import click

from celeriac.circuit_breaker import CircuitState
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import age, state_text, table, took
from celeriac.cli.terminal import echo
from celeriac.tracking import HandlerLag

NUMBERS = [
    "waiting",
    "queued",
    "running",
    "scheduled",
    "blocked",
    "dead",
    "processed",
    "oldest",
    "mean",
]


@click.command()
@json_option
@pass_session
def lag(session: Session, as_json: bool) -> None:
    """How far behind each handler is, domain by domain.

    waiting: in the log, not fetched for the handler yet. queued: with a worker. scheduled: runs at
    a later time. blocked: behind an unfinished event of its subject. oldest: age of the oldest
    unfinished.
    """
    found = session.matrix.lag()
    if as_json:
        print_json([{**_plain(one), "unfinished": one.unfinished} for one in found])
    elif not found:
        echo("No handlers. A handler is registered when its worker starts.")
    else:
        table(
            ("handler", "domain", *NUMBERS),
            [_row(one) for one in found],
            right=NUMBERS,
            fold={"handler": 30, "domain": 12},
            shed=("mean", "blocked", "scheduled", "queued", "processed", "running"),
            gap=1,
        )


def _plain(one: HandlerLag) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


def _row(one: HandlerLag) -> tuple[object, ...]:
    if not one.registered:
        name: object = state_text("warn", f"{one.handler} (nobody's)")
    elif not one.joined and one.waiting == 0:
        name = state_text("missing", f"{one.handler} (no group)")
    elif one.circuit is not CircuitState.CLOSED:
        name = state_text("warn", f"{one.handler} ({one.circuit})")
    else:
        name = one.handler
    return (
        name,
        one.domain,
        _number(one.waiting),
        _number(one.queued),
        _number(one.running),
        _number(one.scheduled),
        _number(one.blocked),
        state_text("dead", f"{one.dead:,}") if one.dead else 0,
        _number(one.processed),
        age(one.oldest_s),
        took(one.mean_us),
    )


def _number(number: int) -> str:
    return f"{number:,}" if number else ""
