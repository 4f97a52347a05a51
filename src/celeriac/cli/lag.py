"""`celeriac lag`"""

from __future__ import annotations

import click

from celeriac.circuit_breaker import CircuitState
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import duration, run_time, state_text, table
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
    """Show the backlog of each handler in each domain.

    waiting: in the log, not fetched for the handler yet. queued: with a worker. scheduled: runs at
    a later time. blocked: waits for its key, for example for an earlier event of its sequence.
    oldest: age of the oldest unfinished event.
    """
    lags = session.matrix.lag()
    if as_json:
        print_json([{**_plain(row), "unfinished": row.unfinished} for row in lags])
    elif not lags:
        echo("No handlers. A handler is registered when its worker starts.")
    else:
        table(
            ("handler", "domain", *NUMBERS),
            [_row(row) for row in lags],
            right=NUMBERS,
            fold={"handler": 30, "domain": 12},
            shed=("mean", "blocked", "scheduled", "queued", "processed", "running"),
            gap=1,
        )


def _plain(lag: HandlerLag) -> dict[str, object]:
    return {name: getattr(lag, name) for name in lag.__struct_fields__}


def _row(lag: HandlerLag) -> tuple[object, ...]:
    if not lag.registered:
        name: object = state_text("warn", f"{lag.handler} (orphaned)")
    elif not lag.joined and lag.waiting == 0:
        name = state_text("missing", f"{lag.handler} (no group)")
    elif lag.circuit is not CircuitState.CLOSED:
        name = state_text("warn", f"{lag.handler} ({lag.circuit})")
    else:
        name = lag.handler
    return (
        name,
        lag.domain,
        _number(lag.waiting),
        _number(lag.queued),
        _number(lag.running),
        _number(lag.scheduled),
        _number(lag.blocked),
        state_text("dead", f"{lag.dead:,}") if lag.dead else 0,
        _number(lag.processed),
        duration(lag.oldest_s),
        run_time(lag.mean_us),
    )


def _number(number: int) -> str:
    return f"{number:,}" if number else ""
