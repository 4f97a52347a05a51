"""`GET /healthz` and `GET /readyz`, for probes. They need no token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import redis
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from celeriac.gateway.context import GatewayContext
from celeriac.gateway.receiver import Receiver

# Anyone can call the route; Redis is asked at most once in this time.
FRESH_SECONDS = 1.0


class Readiness:
    """Whether Redis answers. Concurrent calls share one request to Redis."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._is_reachable = False

    async def is_reachable(self) -> bool:
        """Return whether Redis answers, as of FRESH_SECONDS ago at most."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._is_reachable = await self._ping()
                self._until = time.monotonic() + FRESH_SECONDS
            return self._is_reachable

    async def _ping(self) -> bool:
        try:
            await self._receiver.ping()
        except redis.RedisError:
            return False
        return True


def health_routes(context: GatewayContext) -> Iterable[BaseRoute]:
    """Return the routes for probes."""
    readiness = Readiness(context.receiver)
    # With a spool, events are accepted while Redis is unreachable.
    has_spool = bool(context.bus.settings.spool)

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        is_reachable = await readiness.is_reachable()
        is_ready = is_reachable or has_spool
        redis_state = "reachable" if is_reachable else "unreachable"
        body = {"status": "ok" if is_ready else "unavailable", "redis": redis_state}
        return JSONResponse(body, 200 if is_ready else 503)

    yield Route("/healthz", healthz)
    yield Route("/readyz", readyz)
