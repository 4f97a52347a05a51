"""Services: each handler's lag, pace and failures, and the workers that serve it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from tornado.web import authenticated

from celeriac.circuit import Circuit, CircuitState
from celeriac.flower.page import Page
from celeriac.flower.picture.sparkline import Bar, sparkline
from celeriac.matrix import HandlerView, Matrix
from celeriac.registry import WorkerRecord

# Three beats: see dispatcher/janitor.py.
ALIVE_WITHIN_MS = 15_000


@dataclass(frozen=True, slots=True)
class Line:
    """One handler."""

    view: HandlerView
    circuit: Circuit
    bars: list[Bar]

    @property
    def is_closed(self) -> bool:
        return self.circuit.state is CircuitState.CLOSED


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service. A worker is `gone` that has not beaten for three beats."""

    name: str
    lines: list[Line]
    workers: list[WorkerRecord]
    gone: list[WorkerRecord]


class ServicesPage(Page):
    name = "services"

    @authenticated
    async def get(self) -> None:
        services, now = await self.call(read_services, self.matrix)
        self.show(
            services=services,
            now_ms=now,
            known_workers=self.application.workers,
            live_url=self.get_live_url(),
        )


def is_alive(worker: WorkerRecord, now_ms: int) -> bool:
    return now_ms - worker.beat_ms <= ALIVE_WITHIN_MS


def read_services(matrix: Matrix) -> tuple[list[ServiceView], int]:
    """Every service that has handlers or workers, and the server's time. Blocks."""
    backend = matrix.backend
    views, now = matrix.overview(), backend.registry.now_ms()
    circuits, workers = backend.circuits.all(), backend.registry.workers()
    lines = [
        Line(
            view, circuits.get(view.handler, Circuit(handler=view.handler)), sparkline(view.minutes)
        )
        for view in sorted(views, key=lambda view: (view.service, view.handler))
    ]
    by_service = {
        name: list(group) for name, group in groupby(lines, key=lambda line: line.view.service)
    }
    names = sorted(by_service.keys() | {worker.service for worker in workers})
    return [
        ServiceView(
            name,
            by_service.get(name, []),
            [w for w in workers if w.service == name and is_alive(w, now)],
            [w for w in workers if w.service == name and not is_alive(w, now)],
        )
        for name in names
    ], now
