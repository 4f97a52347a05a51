"""The matrix: the activity of each handler for each event type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tornado.web import authenticated

from celeriac.flower.page import FlowerPage
from celeriac.tracking import HandlerLag, HandlerView, Matrix, TypeView

MAX_TYPES = 60  # columns


@dataclass(frozen=True, slots=True)
class Square:
    """One handler and one event type. `view` is None if no delivery of the type exists."""

    type: str
    wanted: bool
    view: TypeView | None

    @property
    def tone(self) -> str:
        """The condition, which selects the colour."""
        view = self.view
        if view is None:
            return "none"
        if view.dead:
            return "dead"
        if view.retried:
            return "scheduled"
        return "processed" if view.processed else "quiet"


class MatrixPage(FlowerPage):
    name = "matrix"

    @authenticated
    async def get(self) -> None:
        views = await self.call(Matrix.overview, self.matrix)
        types, more = columns(views)
        self.show(
            types=types,
            more=more,
            behind=behind,
            explain_url=self.explain_url,
            services=[
                (service, [(view, squares(view, types)) for view in group])
                for service, group in groupby(
                    sorted(views, key=lambda view: (view.service, view.handler)),
                    key=lambda view: view.service,
                )
            ],
            live_url=self.get_live_url(),
        )


def columns(views: Sequence[HandlerView]) -> tuple[list[str], int]:
    """Return at most MAX_TYPES event types in order, and the number of the others.

    Types with dead letters come first, then the busiest types of the last hour.
    """
    activity: dict[str, tuple[int, int]] = dict.fromkeys(wanted_types(views), (0, 0))
    for stats in (stats for view in views for stats in view.types):
        dead, delivered = activity.get(stats.type, (0, 0))
        activity[stats.type] = (dead + stats.dead, delivered + stats.processed + stats.retried)
    types = sorted(activity, key=lambda type: (*(-n for n in activity[type]), type))
    return sorted(types[:MAX_TYPES]), max(0, len(types) - MAX_TYPES)


def wanted_types(views: Sequence[HandlerView]) -> set[str]:
    """Return the types that patterns name in full, including types without a completed delivery."""
    return {
        pattern
        for view in views
        for pattern in view.patterns
        if not {"*", "#"} & set(pattern.split("."))
    }


def behind(view: HandlerView) -> list[HandlerLag]:
    """Return the domains with unfinished deliveries of the handler, the longest backlog first."""
    lags = [lag for lag in view.lags if lag.unfinished]
    return sorted(lags, key=lambda lag: (-lag.unfinished, lag.domain))


def squares(view: HandlerView, types: Sequence[str]) -> list[Square]:
    by_type = {stats.type: stats for stats in view.types}
    return [Square(type, view.wants(type), by_type.get(type)) for type in types]
