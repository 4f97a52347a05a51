"""The ASGI application of a gateway."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from celeriac.errors import ConfigurationError
from celeriac.gateway.context import GatewayContext, RouteModule
from celeriac.gateway.events import event_routes
from celeriac.gateway.health import health_routes
from celeriac.gateway.hook import Hook
from celeriac.gateway.hooks import hook_routes
from celeriac.gateway.limits import Limits
from celeriac.gateway.metrics import metric_routes
from celeriac.gateway.pull import pull_routes
from celeriac.gateway.receiver import Receiver
from celeriac.gateway.refusal import Refusal
from celeriac.gateway.scale import scale_routes
from celeriac.gateway.token import Token, Tokens

if TYPE_CHECKING:
    from celeriac.bus import EventBus

# A new group of routes is a RouteModule in this tuple.
ROUTES: tuple[RouteModule, ...] = (
    event_routes,
    hook_routes,
    pull_routes,
    scale_routes,
    metric_routes,
    health_routes,
)

_HOOK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def gateway(
    bus: EventBus,
    *,
    tokens: Sequence[Token] = (),
    hooks: Mapping[str, Hook] | None = None,
    limits: Limits | None = None,
    routes: Iterable[RouteModule] = (),
) -> Starlette:
    """Return an ASGI application that receives events and webhooks, and emits them on the bus.

    Mount it in FastAPI or Starlette, or run it with an ASGI server. The
    [reference](../gateway.md) lists its routes and statuses. It does not connect before the first
    request.

    Args:
        bus: Where the events are emitted. Types that it declares are checked.
        tokens: The clients of `/events` and `/v1/handlers`. Without tokens, each request there is
            refused.
        hooks: The webhooks, name → hook, received at `POST /hooks/{name}`.
        limits: The limits of size, time and requests at once. See Limits.
        routes: Further routes with the same tokens and limits: functions that take a GatewayContext
            and return Starlette routes.

    Raises:
        ConfigurationError: An argument is wrong. No message contains a secret.
    """
    hooks = dict(hooks or {})
    for name in hooks:
        if not isinstance(name, str) or not _HOOK_NAME.fullmatch(name):
            raise ConfigurationError(
                f"gateway(hooks={{{name!r}: …}}): the name is part of the path: use lower-case "
                "letters, digits, _ and -, such as 'stripe'"
            )
    limits = (limits or Limits()).completed(bus.settings.max_event_bytes, len(tokens))
    context = GatewayContext(
        bus=bus,
        tokens=Tokens(tokens),
        hooks=hooks,
        limits=limits,
        receiver=Receiver(bus),
    )
    modules = (*ROUTES, *routes)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        for close in context.closing:
            await asyncio.to_thread(close)

    def stop_waiting() -> None:
        for stop in context.stopping:
            stop()

    app = Starlette(
        routes=[route for module in modules for route in module(context)],
        lifespan=lifespan,
        exception_handlers={HTTPException: _unrouted, Exception: _failed},
    )
    # For the server, when it begins to stop: the lifespan ends after the last request.
    app.state.stop_waiting = stop_waiting
    return app


async def _unrouted(request: Request, error: Exception) -> Response:
    """Return the answer to a request for which there is no route."""
    assert isinstance(error, HTTPException)
    details = {
        404: "there is no route of this path. Check the path",
        405: "the path does not support this method. Check the method",
    }
    detail = details.get(error.status_code, str(error.detail))
    return Refusal(error.status_code, detail, headers=error.headers or {}).response()


async def _failed(request: Request, error: Exception) -> Response:
    """Return the answer after an unexpected error, which is raised again for the server's log."""
    return Refusal(500, "the gateway failed. Its log has the reason").response()
