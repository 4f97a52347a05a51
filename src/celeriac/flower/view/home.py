"""What Flower's own first page says of the bus, and the number beside "Dead letters" on all."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import authenticated

from celeriac.flower.page import Page
from celeriac.registry import is_alive
from celeriac.tracking import HandlerLag, Matrix


@dataclass(frozen=True, slots=True)
class Front:
    """`unserved` services have handlers and no living worker."""

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


class FrontPart(Page):
    name = "front"

    @authenticated
    async def get(self) -> None:
        self.show(front=await self.call(read_front, self.matrix))


class DeadCount(Page):
    """The number of dead letters, for the navigation of every page."""

    name = "count"

    @authenticated
    async def get(self) -> None:
        self.write({"dead": await self.call(count_dead, self.matrix)})


def read_front(matrix: Matrix) -> Front:
    """Blocks."""
    backend = matrix.backend
    lags, domains = matrix.lag(), backend.event_log.domains()
    workers, now = backend.registry.workers(), backend.registry.now_ms()
    alive = [worker for worker in workers if is_alive(worker, now)]
    records = backend.registry.handlers().values()
    services = {record.service for record in records}
    oldest = max(lags, key=_age, default=None)
    return Front(
        events=sum(backend.event_log.length(domain) for domain in domains),
        domains=len(domains),
        handlers=len(records),
        services=len(services),
        workers=len(alive),
        unserved=sorted(services - {worker.service for worker in alive}),
        unfinished=sum(one.unfinished for one in lags),
        dead=count_dead(matrix),
        oldest_s=oldest.oldest_s if oldest else None,
        behind=oldest.handler if oldest and oldest.oldest_s is not None else "",
        paused=len(backend.circuits.all()),
    )


def count_dead(matrix: Matrix) -> int:
    """Blocks."""
    backend = matrix.backend
    return sum(backend.deliveries.dead_count(domain) for domain in backend.event_log.domains())


def _age(one: HandlerLag) -> float:
    return one.oldest_s or 0.0
