"""The cards on Flower's home page, and the number next to "Dead letters" on every page."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import authenticated

from celeriac.flower.page import FlowerPage
from celeriac.registry import is_alive
from celeriac.tracking import HandlerLag, Matrix


@dataclass(frozen=True, slots=True)
class HomeFigures:
    """The figures of the cards. `unserved` services have handlers but no running worker."""

    events: int
    domains: int
    handlers: int
    services: int
    workers: int
    unserved: list[str]
    unfinished: int
    dead: int
    oldest_s: float | None
    behind: str
    paused: int


class HomePart(FlowerPage):
    name = "home"

    @authenticated
    async def get(self) -> None:
        self.show(home=await self.call(read_home, self.matrix))


class DeadCount(FlowerPage):
    """The number of dead letters, for the navigation of every page."""

    name = "count"

    @authenticated
    async def get(self) -> None:
        self.write({"dead": await self.call(count_dead, self.matrix)})


def read_home(matrix: Matrix) -> HomeFigures:
    """Return the figures of the cards. Blocks."""
    backend = matrix.backend
    lags, domains = matrix.lag(), backend.event_log.domains()
    workers, now = backend.registry.workers(), backend.registry.now_ms()
    alive = [worker for worker in workers if is_alive(worker, now)]
    records = backend.registry.handlers().values()
    services = {record.service for record in records}
    oldest = max(lags, key=_age, default=None)
    return HomeFigures(
        events=sum(backend.event_log.length(domain) for domain in domains),
        domains=len(domains),
        handlers=len(records),
        services=len(services),
        workers=len(alive),
        unserved=sorted(services - {worker.service for worker in alive}),
        unfinished=sum(lag.unfinished for lag in lags),
        dead=count_dead(matrix),
        oldest_s=oldest.oldest_s if oldest else None,
        behind=oldest.handler if oldest and oldest.oldest_s is not None else "",
        paused=len(backend.circuits.all()),
    )


def count_dead(matrix: Matrix) -> int:
    """Return the number of dead letters. Blocks."""
    backend = matrix.backend
    return sum(backend.deliveries.dead_count(domain) for domain in backend.event_log.domains())


def _age(lag: HandlerLag) -> float:
    return lag.oldest_s or 0.0
