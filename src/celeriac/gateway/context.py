"""What the routes of a gateway share: the bus, the tokens, the limits, and how they refuse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from celeriac.errors import CeleriacError
from celeriac.gateway.hook import Hook
from celeriac.gateway.limits import Limits
from celeriac.gateway.metrics import GatewayMetrics
from celeriac.gateway.receiver import Receiver
from celeriac.gateway.refusal import Refusal, refusal_of
from celeriac.gateway.refusal_log import RefusalLog
from celeriac.gateway.request import Slot, Slots
from celeriac.gateway.token import Token, Tokens

if TYPE_CHECKING:
    from celeriac.bus import EventBus

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """What each module of routes gets.

    Attributes:
        bus: The bus that the gateway emits to.
        tokens: Authenticates clients.
        hooks: The webhooks by name.
        limits: The limits of a request, without values that mean a default.
        receiver: Emits received events.
        clock: The time in seconds since the epoch.
        metrics: Counts what the routes accept and refuse.
        stopping: Functions that end waiting requests; modules append to it.
        closing: Functions that are called when the application ends; modules append to it.
    """

    bus: EventBus
    tokens: Tokens
    hooks: Mapping[str, Hook]
    limits: Limits
    receiver: Receiver
    clock: Callable[[], float] = time.time
    refusals: RefusalLog = field(default_factory=RefusalLog)
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    stopping: list[Callable[[], None]] = field(default_factory=list)
    closing: list[Callable[[], None]] = field(default_factory=list)

    def authenticate(self, request: Request) -> Token:
        """Return the token of a request.

        Raises Refusal (401), or 429 if too many requests of the token run, which `guarded` answers.
        """
        if len(request.headers.getlist("authorization")) > 1:
            # A proxy may have checked another one.
            raise Refusal(400, "the header 'authorization' occurs twice", field="authorization")
        token = self.tokens.authenticate(request.headers)
        slot: Slot | None = getattr(request.state, "slot", None)
        if slot is not None:
            slot.give_to(token.name)
        return token

    def guarded(self, route: str, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint with a limit of requests at once, with answers for errors, counted.

        It may raise Refusal, and any error of celeriac. Each is answered as problem details, and
        logged rarely. `route` is its name in the log and in metrics.
        """
        slots = Slots(self.limits.max_requests, self.limits.max_token_requests)

        async def answered(request: Request) -> Response:
            began, metrics = time.perf_counter(), self.metrics
            request.state.slot = slot = Slot(slots)
            try:
                with slot:
                    response = await endpoint(request)
                metrics.note_accepted(route, slot.token, slot.accepted)
                return response
            except Refusal as error:
                refusal = error
            except CeleriacError as error:
                refusal = refusal_of(error)
            except asyncio.CancelledError:
                metrics.note_refused(route, slot.token, "cancelled")
                raise
            except Exception:
                metrics.note_refused(route, slot.token, "failed")
                raise
            finally:
                metrics.note_ended(route, time.perf_counter() - began)
            metrics.note_refused(route, slot.token, refusal.reason)
            metrics.note_accepted(route, slot.token, refusal.accepted)
            self.refusals.note(route, refusal, slot.token)
            return refusal.response()

        self.metrics.slots[route] = slots
        return answered


def accept_events(request: Request, ids: Sequence[str]) -> Response:
    """Return the answer to events that were accepted, which are counted."""
    slot: Slot = request.state.slot
    slot.accepted = len(ids)
    return Response(msgspec.json.encode({"ids": ids}), 202, media_type="application/json")


# Returns the routes of one concern, such as `event_routes`. They call `context.authenticate` and
# are wrapped by `context.guarded`.
RouteModule = Callable[[GatewayContext], Iterable[BaseRoute]]
