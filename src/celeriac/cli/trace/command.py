"""celeriac trace"""

from __future__ import annotations

import click
import msgspec

from celeriac.cli.document import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.trace.draw import draw
from celeriac.ledger import Lane
from celeriac.matrix import State, Tree

FAILED = (State.DEAD, State.SCHEDULED)


@click.command()
@click.argument("event_id")
@json_option
@pass_session
def trace(session: Session, event_id: str, as_json: bool) -> None:
    """What an event came from, what came of it, and how long each step took.

    Beneath each event stand its handlers; beneath a handler, what it emitted. Times are those
    after the first event of the tree: when an event was emitted, and when a handler was done.
    """
    matrix = session.matrix
    located = matrix.find(event_id)
    tree = matrix.causes(located)
    if as_json:
        print_json(msgspec.to_builtins(tree))
    else:
        draw(tree, asked=event_id, errors=_errors(session, tree))


def _errors(session: Session, tree: Tree) -> dict[tuple[str, str], str]:
    """(event id, handler) → the last error, where something failed."""
    found: dict[tuple[str, str], str] = {}
    for node in tree.nodes:
        for cell in node.cells:
            if cell.attempts > 1 or cell.state in FAILED:
                lane = Lane(node.domain, cell.handler)
                failures = session.backend.ledger.failures(lane, node.id)
                if failures:
                    found[node.id, cell.handler] = failures[-1].error
    return found
