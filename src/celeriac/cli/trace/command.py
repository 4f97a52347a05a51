"""`celeriac trace`"""

from __future__ import annotations

import click
import msgspec
import redis

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.source import source_option
from celeriac.cli.terminal import echo
from celeriac.cli.trace.draw import draw
from celeriac.delivery import Group
from celeriac.outbox.database import open_database
from celeriac.process.trace import TracedInstance, traced_instances
from celeriac.tracking import DeliveryState, Tree

FAILED = (DeliveryState.DEAD, DeliveryState.SCHEDULED)


@click.command()
@click.argument("event_id")
@source_option
@json_option
@pass_session
def trace(session: Session, event_id: str, source: str | None, as_json: bool) -> None:
    """Show the causes and consequences of an event, and the duration of each step.

    The handlers of an event are below it, and the events that a handler emitted are below the
    handler. Times are relative to the first event: when an event was emitted, and when a handler
    was done. If several sources used the id, shows a tree for each event.
    """
    matrix = session.matrix
    trees = [
        (event.key, matrix.causes(event)) for event in matrix.find_all(event_id, source=source)
    ]
    instances = [_instances(session, tree) for _, tree in trees]
    if as_json:
        print_json(
            [
                {**msgspec.to_builtins(tree), "instances": msgspec.to_builtins(traced)}
                for (_, tree), traced in zip(trees, instances, strict=True)
            ]
        )
        return
    for n, (key, tree) in enumerate(trees):
        if n:
            echo()
        draw(
            tree,
            key,
            errors=_errors(session, tree),
            instances={(traced.event, traced.handler): traced for traced in instances[n]},
        )


def _instances(session: Session, tree: Tree) -> list[TracedInstance]:
    """Return the instances of processes; without a status if their database is not available."""
    url = session.settings.outbox_url
    try:
        database = open_database(url) if url else None
        return traced_instances(session.backend, tree, database)
    except redis.RedisError:
        raise
    except Exception as error:
        # Whatever the driver raises: the tree itself needs no database.
        reason = str(error).partition("\n")[0]
        echo(f"the status of processes is unknown: {reason}", err=True)
        return traced_instances(session.backend, tree, None)


def _errors(session: Session, tree: Tree) -> dict[tuple[str, str], str]:
    """Return the last error by (event key, handler)."""
    errors: dict[tuple[str, str], str] = {}
    for node in tree.nodes:
        for cell in node.cells:
            if cell.attempts > 1 or cell.state in FAILED:
                group = Group(node.domain, cell.handler)
                failures = session.backend.deliveries.failures(group, node.key)
                if failures:
                    errors[node.key, cell.handler] = failures[-1].error
    return errors
