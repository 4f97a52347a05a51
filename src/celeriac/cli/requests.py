"""`celeriac requests`"""

from __future__ import annotations

import click

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import duration, table
from celeriac.cli.terminal import echo
from celeriac.reply import RequestOutcome, RequestStats, by_type

NUMBERS = ("pending", "replied", "timed out", "failed", "late replies", "p50", "p95")


@click.command()
@json_option
@pass_session
def requests(session: Session, as_json: bool) -> None:
    """Show the requests of all services by their event type.

    pending: waits for replies. failed: not emitted, cancelled, or its process ended. late replies:
    came after the request had ended. p50, p95: time until the last reply.
    """
    stats = by_type(session.backend.replies.stats())
    if as_json:
        print_json([_plain(type, of_type) for type, of_type in stats])
    elif not stats:
        echo("No requests yet. `bus.request` makes one.")
    else:
        table(
            ("type", *NUMBERS),
            [_row(type, of_type) for type, of_type in stats],
            right=NUMBERS,
            fold={"type": 16},
            shed=("p50", "failed"),
        )


def _plain(type: str, stats: RequestStats) -> dict[str, object]:
    return {
        "type": type,
        "pending": stats.pending,
        **{outcome.value: stats.count(outcome) for outcome in RequestOutcome},
        "late_replies": stats.late,
        "p50_s": stats.took.quantile(0.5),
        "p95_s": stats.took.quantile(0.95),
    }


def _row(type: str, stats: RequestStats) -> tuple[object, ...]:
    counts = (stats.pending, *(stats.count(outcome) for outcome in RequestOutcome), stats.late)
    times = (duration(stats.took.quantile(q)) for q in (0.5, 0.95))
    return type, *(f"{count:,}" if count else "" for count in counts), *times
