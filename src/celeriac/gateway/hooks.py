"""`POST /hooks/{name}`: webhooks of other systems, verified by their signatures."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from celeriac.gateway.context import Endpoint, GatewayContext, accept_events
from celeriac.gateway.hook import Hook, HookReply
from celeriac.gateway.refusal import Refusal
from celeriac.gateway.request import read_body, read_headers


def hook_routes(context: GatewayContext) -> Iterable[BaseRoute]:
    """Return a route for each webhook, and one that refuses the others."""
    for name, hook in context.hooks.items():
        path = f"/hooks/{name}"
        yield Route(path, context.guarded(path, _receive(context, hook)), methods=["POST"])

    async def unknown(request: Request) -> Response:
        raise Refusal(404, "there is no webhook of this name")

    yield Route("/hooks/{name:path}", context.guarded("/hooks", unknown), methods=["POST"])


def _receive(context: GatewayContext, hook: Hook) -> Endpoint:
    async def receive(request: Request) -> Response:
        headers = read_headers(request.scope["headers"])
        body = await read_body(request, context.limits, request.state.slot)
        webhook = hook.read(headers, body, context.clock())
        if isinstance(webhook, HookReply):
            return Response(webhook.body, media_type=webhook.content_type)
        event = webhook.event(hook.source)
        # The secret allows any type that the hook can have.
        received = await context.receiver.receive([event], lambda event: event)
        return accept_events(request, received)

    return receive
