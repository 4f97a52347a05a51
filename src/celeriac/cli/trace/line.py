"""The tree of causes as lines: each event, under it its handlers, under those what they emitted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from celeriac.tracking import Cause, Cell, Tree


@dataclass(frozen=True, slots=True)
class Line:
    """One event, or (`cell`) one handler of it.

    Times are ms after the first event of the tree: an event's `begin` is when it was emitted, a
    handler's begin and end are those of its last attempt. None where nobody knows.
    """

    prefix: str
    event: Cause
    cell: Cell | None = None
    begin: float | None = None
    end: float | None = None


def lines(tree: Tree) -> list[Line]:
    """In the order in which they are drawn."""
    children: defaultdict[str | None, list[Cause]] = defaultdict(list)
    keys = {node.key for node in tree.nodes}
    for node in tree.nodes:
        children[node.parent if node.parent in keys else None].append(node)
    times = [node.time_ms for node in tree.nodes if node.time_ms is not None]
    zero = min(times, default=0)
    return [line for root in children[None] for line in _event(root, "", "", children, zero)]


def span(drawn: Sequence[Line]) -> float:
    """From the first event to the end of all that is known, in ms."""
    return max((line.end or line.begin or 0.0 for line in drawn), default=0.0)


def _event(
    node: Cause,
    first: str,
    rest: str,
    children: Mapping[str | None, Sequence[Cause]],
    zero: int,
) -> Iterator[Line]:
    begin = None if node.time_ms is None else float(node.time_ms - zero)
    yield Line(first, node, begin=begin)
    cells = sorted(node.cells, key=lambda cell: (cell.at_ms or float("inf"), cell.handler))
    by_handler = {cell.handler: cell for cell in cells}
    emitted_events = children.get(node.key, ())
    # Of an effect whose handler is not known, nobody can say more than that it followed.
    loose = [effect for effect in emitted_events if effect.handler not in by_handler]
    for n, cell in enumerate(cells):
        last = n == len(cells) - 1 and not loose
        yield _handler(rest + ("└─ " if last else "├─ "), node, cell, zero)
        below = rest + ("   " if last else "│  ")
        own = [effect for effect in emitted_events if effect.handler == cell.handler]
        yield from _several(own, below, children, zero)
    yield from _several(loose, rest, children, zero)


def _several(
    nodes: Sequence[Cause],
    prefix: str,
    children: Mapping[str | None, Sequence[Cause]],
    zero: int,
) -> Iterator[Line]:
    for n, node in enumerate(nodes):
        last = n == len(nodes) - 1
        first, rest = ("└▶ ", "   ") if last else ("├▶ ", "│  ")
        yield from _event(node, prefix + first, prefix + rest, children, zero)


def _handler(prefix: str, node: Cause, cell: Cell, zero: int) -> Line:
    begin = end = None
    if cell.at_ms is not None and cell.took_us is not None:
        end = float(cell.at_ms - zero)
        begin = max(0.0, end - cell.took_us / 1000)
    return Line(prefix, node, cell, begin, end)
