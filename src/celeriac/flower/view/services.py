"""Services: lag, rate and failures of each handler, and the workers that serve it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import groupby

from tornado.web import authenticated

from celeriac.circuit_breaker import Circuit, CircuitState
from celeriac.flower.page import FlowerPage
from celeriac.flower.svg.sparkline import Bar, sparkline
from celeriac.registry import LiveBroadcast, WorkerRecord, is_alive, live_broadcasts
from celeriac.reply import RequestStats, by_type
from celeriac.tracking import HandlerView, Matrix

MAX_LINES, MAX_SERVICES = 300, 100


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """One handler."""

    view: HandlerView
    circuit: Circuit
    bars: list[Bar]

    @property
    def is_closed(self) -> bool:
        return self.circuit.state is CircuitState.CLOSED


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service.

    A worker is `gone` after three missed heartbeats. `more_lines` is the number of its handlers not
    shown. `broadcasts` are the broadcast handlers of its running workers.
    """

    name: str
    lines: list[ServiceLine]
    more_lines: int
    workers: list[WorkerRecord]
    gone: list[WorkerRecord]
    broadcasts: list[LiveBroadcast]


@dataclass(frozen=True, slots=True)
class Services:
    """The services, and the requests by type.

    `more` is the number of services not shown; `now_ms` is the server's time.
    """

    shown: list[ServiceView]
    more: int
    now_ms: int
    requests: list[tuple[str, RequestStats]]


class ServicesPage(FlowerPage):
    name = "services"

    @authenticated
    async def get(self) -> None:
        read = await self.call(read_services, self.matrix)
        self.show(
            services=read.shown,
            more_services=read.more,
            now_ms=read.now_ms,
            requests=read.requests[:MAX_LINES],
            known_workers=self.known_workers,
            live_url=self.get_live_url(),
        )


def read_services(matrix: Matrix) -> Services:
    """Return the services that have handlers or workers. Blocks.

    Of more than MAX_LINES handlers, those with the largest lag are shown.
    """
    backend = matrix.backend
    views, now = matrix.overview(), backend.registry.now_ms()
    circuits, workers = backend.circuits.all(), backend.registry.workers()
    lines = [
        ServiceLine(
            view, circuits.get(view.handler, Circuit(handler=view.handler)), sparkline(view.minutes)
        )
        for view in sorted(furthest_behind(views), key=lambda view: (view.service, view.handler))
    ]
    by_service = {
        name: list(group) for name, group in groupby(lines, key=lambda line: line.view.service)
    }
    broadcasts = live_broadcasts(worker for worker in workers if is_alive(worker, now))
    handlers = Counter(view.service for view in views)
    others = (handlers.keys() | {worker.service for worker in workers}) - by_service.keys()
    names = [*by_service, *sorted(others)]
    shown = [
        ServiceView(
            name,
            by_service.get(name, []),
            handlers[name] - len(by_service.get(name, [])),
            [w for w in workers if w.service == name and is_alive(w, now)],
            [w for w in workers if w.service == name and not is_alive(w, now)],
            [broadcast for broadcast in broadcasts if broadcast.service == name],
        )
        for name in sorted(names[:MAX_SERVICES])
    ]
    return Services(shown, len(names) - len(shown), now, by_type(backend.replies.stats()))


def furthest_behind(views: Sequence[HandlerView], count: int = MAX_LINES) -> Sequence[HandlerView]:
    """Return the handlers with the largest lag; of equal ones, the failing first."""
    if len(views) <= count:
        return views
    return nlargest(count, views, key=lambda view: (view.lag, view.failing or 0.0))
