"""celeriac trace"""

from __future__ import annotations

import click
import msgspec

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.source import source_option
from celeriac.cli.terminal import echo
from celeriac.cli.trace.draw import draw
from celeriac.delivery import Group
from celeriac.tracking import DeliveryState, Tree

FAILED = (DeliveryState.DEAD, DeliveryState.SCHEDULED)


@click.command()
@click.argument("event_id")
@source_option
@json_option
@pass_session
def trace(session: Session, event_id: str, source: str | None, as_json: bool) -> None:
    """What an event came from, what came of it, and how long each step took.

    Beneath each event stand its handlers; beneath a handler, what it emitted. Times are those
    after the first event of the tree: when an event was emitted, and when a handler was done.
    Shows a tree for each event that has the id, where several sources used it.
    """
    matrix = session.matrix
    found = [(one.key, matrix.causes(one)) for one in matrix.find_all(event_id, source=source)]
    if as_json:
        print_json([msgspec.to_builtins(tree) for _, tree in found])
        return
    for n, (key, tree) in enumerate(found):
        if n:
            echo()
        draw(tree, asked=key, errors=_errors(session, tree))


def _errors(session: Session, tree: Tree) -> dict[tuple[str, str], str]:
    """(event key, handler) → the last error, where something failed."""
    found: dict[tuple[str, str], str] = {}
    for node in tree.nodes:
        for cell in node.cells:
            if cell.attempts > 1 or cell.state in FAILED:
                group = Group(node.domain, cell.handler)
                failures = session.backend.deliveries.failures(group, node.key)
                if failures:
                    found[node.key, cell.handler] = failures[-1].error
    return found
