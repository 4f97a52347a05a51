"""`POST /events`: CloudEvents in structured, binary and batch mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from celeriac.errors import InvalidEvent
from celeriac.event import RawEvent
from celeriac.event.attributes import check_traceparent
from celeriac.event.http_message import BATCH, STRUCTURED, content_type_fault, read_message
from celeriac.gateway.context import GatewayContext, accept_events
from celeriac.gateway.refusal import Refusal
from celeriac.gateway.request import read_body, read_headers


def event_routes(context: GatewayContext) -> Iterable[BaseRoute]:
    """Return the route that receives events."""

    async def receive(request: Request) -> Response:
        token = context.authenticate(request)
        headers = read_headers(request.scope["headers"])
        _check_media_type(headers)
        body = await read_body(request, context.limits)
        read = read_message(headers, body, max_events=context.limits.max_batch)
        events = [_traced(event, headers) for event in read]
        return accept_events(request, await context.receiver.receive(events, token.admit))

    yield Route("/events", context.guarded("/events", receive), methods=["POST"])


def _check_media_type(headers: Mapping[str, str]) -> None:
    content_type = headers.get("content-type", "")
    fault = content_type_fault(content_type)
    is_structured = content_type.strip().lower().startswith((STRUCTURED, BATCH))
    if not fault and not is_structured and not any(name.startswith("ce-") for name in headers):
        fault = (
            f"there are no ce-… headers, and the content type is not {STRUCTURED} or {BATCH}. "
            "Send one of them"
        )
    if fault:
        raise Refusal(
            415, fault, field="content-type", headers={"accept-post": f"{STRUCTURED}, {BATCH}, */*"}
        )


def _traced(event: RawEvent, headers: Mapping[str, str]) -> RawEvent:
    """Return the event in the trace of the request, unless it names its own."""
    traceparent = headers.get("traceparent")
    if traceparent is None or event.traceparent is not None:
        return event
    with suppress(InvalidEvent):
        check_traceparent(traceparent)
        return replace(event, traceparent=traceparent)
    return event
