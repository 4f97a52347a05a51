"""celeriac workers"""

from __future__ import annotations

import click

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import age, state_text, table
from celeriac.cli.terminal import echo
from celeriac.registry import WorkerRecord, is_alive


@click.command()
@json_option
@pass_session
def workers(session: Session, as_json: bool) -> None:
    """Lists the workers that were there within the last hour."""
    registry = session.backend.registry
    found, now = registry.workers(), registry.now_ms()
    if as_json:
        print_json([{**_plain(one), "alive": is_alive(one, now)} for one in found])
    elif not found:
        echo("No workers. Start one: celery -A <module> worker")
    else:
        table(
            ("worker", "service", "pool", "processes", "queues", "beat"),
            [
                (
                    one.name if is_alive(one, now) else state_text("warn", f"{one.name} (gone)"),
                    one.service,
                    one.pool,
                    one.processes,
                    ", ".join(one.queues),
                    f"{age((now - one.beat_ms) / 1000)} ago",
                )
                for one in found
            ],
            right=("processes", "beat"),
            fold={"worker": 20, "queues": 10},
            shed=("pool", "service"),
        )


def _plain(one: WorkerRecord) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__struct_fields__}
