"""The view of a frame: sort order, filter and scroll position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from celeriac.cli.top.view import HandlerRow, View

Key = Callable[[HandlerRow], object]

# The sort orders: the highest value first, names from A.
SORTS: Mapping[str, Key] = {
    "lag": lambda row: -row.lag,
    "oldest": lambda row: -(row.oldest_s or 0.0),
    "rate": lambda row: -row.rate,
    "failing": lambda row: -row.failing,
    "dead": lambda row: -row.dead,
    "run": lambda row: -(row.run_p95_s or 0.0),
    "name": lambda row: row.handler,
}


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """How frames are shown: sort order, filter and scroll position.

    `typing` is true while the filter is typed; `notice` is the error that keeps the frame from
    updating.
    """

    sort: str = "lag"
    filter: str = ""
    offset: int = 0
    typing: bool = False
    paused: bool = False
    help: bool = False
    notice: str = ""
    url: str = ""

    def chosen(self, view: View) -> list[HandlerRow]:
        """Return the rows that match the filter, sorted."""
        wanted = [row for row in view.handlers if self.filter.lower() in row.handler.lower()]
        key = SORTS[self.sort]
        return sorted(wanted, key=lambda row: (key(row), row.handler))

    def next_sort(self) -> ViewOptions:
        names = list(SORTS)
        return replace(self, sort=names[(names.index(self.sort) + 1) % len(names)])
