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
    lag: HandlerLag | None

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
        types = sorted({one.type for view in views for one in view.types})
        self.show(
            types=types,
            services=[
                (service, [(view, squares(view, types)) for view in group])
                for service, group in groupby(
                    sorted(views, key=lambda view: (view.service, view.handler)),
                    key=lambda view: view.service,
                )
            ],
            live_url=self.get_live_url(),
        )


def squares(view: HandlerView, types: Sequence[str]) -> list[Square]:
    by_type = {one.type: one for one in view.types}
    lags = {one.domain: one for one in view.lags}
    return [
        Square(type, view.wants(type), by_type.get(type), lags.get(type.partition(".")[0]))
        for type in types
    ]
