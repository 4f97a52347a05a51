"""The matrix: handlers × event types, what each does with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tornado.web import authenticated

from celeriac.flower.page import Page
from celeriac.matrix import HandlerLag, HandlerView, Matrix, TypeView


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
        types = sorted({one.type for view in views for one in view.types} | wanted_types(views))
        self.show(
            types=types,
            behind=behind,
            services=[
                (service, [(view, squares(view, types)) for view in group])
                for service, group in groupby(
                    sorted(views, key=lambda view: (view.service, view.handler)),
                    key=lambda view: view.service,
                )
            ],
            live_url=self.get_live_url(),
        )


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
