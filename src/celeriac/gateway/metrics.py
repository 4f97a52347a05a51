"""`GET /metrics`: what this process accepted and refused, for Prometheus."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from celeriac.delivery.counters import Histogram
from celeriac.errors import ConfigurationError
from celeriac.extra import needing
from celeriac.gateway.refusal import Refusal
from celeriac.gateway.request import Slots
from celeriac.observability.metrics.definition import Definition

if TYPE_CHECKING:
    from celeriac.gateway.context import GatewayContext

GATEWAY_METRICS: dict[str, Definition] = {
    "celeriac_gateway_accepted": Definition("counter", ("route", "token"), "Events accepted"),
    "celeriac_gateway_refused": Definition(
        "counter", ("route", "token", "reason"), "Requests refused"
    ),
    "celeriac_gateway_request_seconds": Definition(
        "histogram", ("route",), "Time from a request to its answer"
    ),
    "celeriac_gateway_running": Definition("gauge", ("route",), "Requests that run now"),
}


class GatewayMetrics:
    """Counts the requests of one process. For one event loop."""

    def __init__(self) -> None:
        self.accepted: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[tuple[str, str, str]] = Counter()
        self.slots: dict[str, Slots] = {}
        self.seconds: defaultdict[str, Histogram] = defaultdict(Histogram)

    def running(self) -> dict[tuple[str], int]:
        """Return route → the number of requests that run now."""
        return {(route,): slots.used for route, slots in self.slots.items()}

    def note_accepted(self, route: str, token: str, events: int) -> None:
        if events:
            self.accepted[route, token] += events

    def note_refused(self, route: str, token: str, reason: str) -> None:
        self.refused[route, token, reason] += 1

    def note_ended(self, route: str, seconds: float) -> None:
        self.seconds[route].observe(int(seconds * 1e6))


def metric_routes(context: GatewayContext) -> Iterable[BaseRoute]:
    """Return the route that Prometheus scrapes. It does not read Redis."""

    async def metrics(request: Request) -> Response:
        if not context.authenticate(request).metrics:
            raise Refusal(403, "the token may not read metrics. Set metrics=True in it")
        try:
            with needing("prometheus", "GET /metrics of the gateway"):
                from celeriac.gateway.exposition import CONTENT_TYPE, exposition
        except ConfigurationError as error:
            raise Refusal(501, "this gateway has no metrics", cause=str(error)) from error
        return Response(exposition(context.metrics), headers={"content-type": CONTENT_TYPE})

    yield Route("/metrics", context.guarded("/metrics", metrics), methods=["GET"])
