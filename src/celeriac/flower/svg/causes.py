"""The tree of causes as boxes and curves, from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.tracking import Cause

WIDTH, HEIGHT = 212, 54
ACROSS, DOWN = 96, 16  # units between boxes
MARGIN = 2
LONGEST = 26  # characters of a label in a box


@dataclass(frozen=True, slots=True)
class Box:
    cause: Cause
    x: int
    y: int

    @property
    def label(self) -> str:
        return shortened(self.cause.type or "no longer in the log", LONGEST)


@dataclass(frozen=True, slots=True)
class Edge:
    """A curve from a cause to an event that it caused, emitted by `handler`."""

    path: str
    handler: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Drawing:
    boxes: Sequence[Box]
    edges: Sequence[Edge]
    width: int
    height: int


def draw(nodes: Sequence[Cause]) -> Drawing:
    """Lay out a tree that is given depth first: parents are level with their first child."""
    rows: dict[str, int] = {}
    row = -1
    last_depth = -1
    for node in nodes:
        # a first child is in the row of its parent
        row = row if node.depth > last_depth and row >= 0 else row + 1
        rows[node.key] = row
        last_depth = node.depth
    boxes = [
        Box(node, MARGIN + node.depth * (WIDTH + ACROSS), MARGIN + rows[node.key] * (HEIGHT + DOWN))
        for node in nodes
    ]
    by_key = {box.cause.key: box for box in boxes}
    edges = [_edge(by_key[box.cause.parent], box) for box in boxes if box.cause.parent in by_key]
    return Drawing(
        boxes,
        edges,
        width=max((box.x for box in boxes), default=0) + WIDTH + MARGIN,
        height=max((box.y for box in boxes), default=0) + HEIGHT + MARGIN,
    )


def _edge(cause: Box, effect: Box) -> Edge:
    x1, y1 = cause.x + WIDTH, cause.y + HEIGHT // 2
    x2, y2 = effect.x, effect.y + HEIGHT // 2
    bend = x1 + ACROSS // 3
    path = f"M{x1} {y1}C{bend} {y1} {bend} {y2} {bend + ACROSS // 3} {y2}H{x2}"
    name = effect.cause.handler.rpartition(".")[2]
    return Edge(path, shortened(name, 14), x2 - 8, y2 - 6)


def shortened(text: str, longest: int) -> str:
    """Return the text, truncated with an ellipsis if it is too long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
