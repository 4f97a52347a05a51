"""The matrix: handlers × event types, what each does with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tornado.web import authenticated

from celeriac.flower.page import Page
from celeriac.tracking import HandlerLag, HandlerView, Matrix, TypeView

MAX_TYPES = 60  # columns


@dataclass(frozen=True, slots=True)
class Square:
    """One handler and one event type. `view` is None where nothing of the type was delivered."""

    type: str
    wanted: bool
    view: TypeView | None

    @property
    def tone(self) -> str:
        """How it is: for its colour."""
        view = self.view
        if view is None:
            return "none"
        if view.dead:
            return "dead"
        if view.retried:
            return "scheduled"
        return "processed" if view.processed else "quiet"


class MatrixPage(Page):
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
    """The event types in their order, at most MAX_TYPES, and how many more there are: those with
    dead letters first, then those of which most was delivered within the last hour."""
    activity: dict[str, tuple[int, int]] = dict.fromkeys(wanted_types(views), (0, 0))
    for one in (one for view in views for one in view.types):
        dead, delivered = activity.get(one.type, (0, 0))
        activity[one.type] = (dead + one.dead, delivered + one.processed + one.retried)
    types = sorted(activity, key=lambda type: (*(-n for n in activity[type]), type))
    return sorted(types[:MAX_TYPES]), max(0, len(types) - MAX_TYPES)


def wanted_types(views: Sequence[HandlerView]) -> set[str]:
    """The types that handlers name in full, also those of which nothing was finished yet."""
    return {
        pattern
        for view in views
        for pattern in view.patterns
        if not {"*", "#"} & set(pattern.split("."))
    }


def behind(view: HandlerView) -> list[HandlerLag]:
    """The domains in which the handler has unfinished deliveries, the longest backlog first."""
    lags = [lag for lag in view.lags if lag.unfinished]
    return sorted(lags, key=lambda lag: (-lag.unfinished, lag.domain))


def squares(view: HandlerView, types: Sequence[str]) -> list[Square]:
    by_type = {one.type: one for one in view.types}
    return [Square(type, view.wants(type), by_type.get(type)) for type in types]
