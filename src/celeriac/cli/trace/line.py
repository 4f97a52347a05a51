"""The tree of causes as lines: each event, its handlers below it, their events below them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from celeriac.tracking import Cause, Cell, Tree


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One event, or, with `cell`, one handler of it.

    Times are ms after the first event of the tree. `begin` of an event is when it was emitted;
    `begin` and `end` of a handler are those of its last attempt. None if unknown.
    """

    prefix: str
    event: Cause
    cell: Cell | None = None
    begin: float | None = None
    end: float | None = None


def lines(tree: Tree) -> list[TraceLine]:
    """Return the lines in drawing order."""
    children: defaultdict[str | None, list[Cause]] = defaultdict(list)
    keys = {node.key for node in tree.nodes}
    for node in tree.nodes:
        children[node.parent if node.parent in keys else None].append(node)
    times = [node.time_ms for node in tree.nodes if node.time_ms is not None]
    zero = min(times, default=0)
    return [line for root in children[None] for line in _event(root, "", "", children, zero)]


def span(drawn: Sequence[TraceLine]) -> float:
    """Return the ms from the first event to the end of the last known run."""
    return max((line.end or line.begin or 0.0 for line in drawn), default=0.0)


def _event(
    node: Cause,
    first: str,
    rest: str,
    children: Mapping[str | None, Sequence[Cause]],
    zero: int,
) -> Iterator[TraceLine]:
    begin = None if node.time_ms is None else float(node.time_ms - zero)
    yield TraceLine(first, node, begin=begin)
    cells = sorted(node.cells, key=lambda cell: (cell.at_ms or float("inf"), cell.handler))
    by_handler = {cell.handler: cell for cell in cells}
    emitted_events = children.get(node.key, ())
    # The handler of these events is unknown, so they are placed directly below their cause.
    loose = [event for event in emitted_events if event.handler not in by_handler]
    for n, cell in enumerate(cells):
        last = n == len(cells) - 1 and not loose
        yield _handler(rest + ("└─ " if last else "├─ "), node, cell, zero)
        below = rest + ("   " if last else "│  ")
        emitted = [event for event in emitted_events if event.handler == cell.handler]
        yield from _several(emitted, below, children, zero)
    yield from _several(loose, rest, children, zero)


def _several(
    nodes: Sequence[Cause],
    prefix: str,
    children: Mapping[str | None, Sequence[Cause]],
    zero: int,
) -> Iterator[TraceLine]:
    for n, node in enumerate(nodes):
        last = n == len(nodes) - 1
        first, rest = ("└▶ ", "   ") if last else ("├▶ ", "│  ")
        yield from _event(node, prefix + first, prefix + rest, children, zero)


def _handler(prefix: str, node: Cause, cell: Cell, zero: int) -> TraceLine:
    begin = end = None
    if cell.at_ms is not None and cell.took_us is not None:
        end = float(cell.at_ms - zero)
        begin = max(0.0, end - cell.took_us / 1000)
    return TraceLine(prefix, node, cell, begin, end)
