"""`celeriac workers`"""

from __future__ import annotations

import click

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import duration, state_text, table
from celeriac.cli.terminal import echo
from celeriac.registry import WorkerRecord, is_alive


@click.command()
@json_option
@pass_session
def workers(session: Session, as_json: bool) -> None:
    """List the workers of the last hour."""
    registry = session.backend.registry
    records, now = registry.workers(), registry.now_ms()
    if as_json:
        print_json([{**_plain(worker), "alive": is_alive(worker, now)} for worker in records])
    elif not records:
        echo("No workers. Start a worker: celery -A MODULE worker")
    else:
        table(
            ("worker", "service", "pool", "processes", "queues", "heartbeat"),
            [
                (
                    _name(worker, now),
                    worker.service,
                    worker.pool,
                    worker.processes,
                    ", ".join(worker.queues),
                    f"{duration((now - worker.beat_ms) / 1000)} ago",
                )
                for worker in records
            ],
            right=("processes", "heartbeat"),
            fold={"worker": 20, "queues": 10},
            shed=("pool", "service"),
        )


def _name(worker: WorkerRecord, now_ms: int) -> object:
    if is_alive(worker, now_ms):
        return worker.name
    return state_text("warn", f"{worker.name} (gone)")


def _plain(worker: WorkerRecord) -> dict[str, object]:
    return {name: getattr(worker, name) for name in worker.__struct_fields__}
