"""`GET /v1/scale/{service}`: how many workers a service needs, for an autoscaler."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from celeriac.errors import BusUnavailable, CeleriacError, ConfigurationError, NotFound
from celeriac.gateway.context import GatewayContext
from celeriac.gateway.refusal import UNAVAILABLE_RETRY_SECONDS, Refusal, retry_after
from celeriac.scale.answers import ScaleAnswers
from celeriac.scale.document import scale_document
from celeriac.scale.question import parse_question

# The reason is in the log only: it may name the server.
UNREADABLE = "the load cannot be read from Redis"


def scale_routes(context: GatewayContext) -> Iterable[BaseRoute]:
    """Return the route that an autoscaler asks. It reads Redis once a second at most."""

    @cache
    def answers() -> ScaleAnswers:
        return ScaleAnswers(context.bus.service.backend, context.bus.settings)

    async def scale(request: Request) -> Response:
        token = context.authenticate(request)
        service, parameters = request.path_params["service"], request.query_params.multi_items()
        token.check_scale(service)
        try:
            question = parse_question(service, parameters)
        except ConfigurationError as error:
            raise Refusal(400, str(error)) from None
        try:
            answer = await run_in_threadpool(answers().answer, question)
        except CeleriacError as error:
            raise _refusal(error) from None
        return Response(msgspec.json.encode(scale_document(answer)), media_type="application/json")

    yield Route("/v1/scale/{service}", context.guarded("/v1/scale", scale))


def _refusal(error: CeleriacError) -> Refusal:
    if isinstance(error, NotFound):
        return Refusal(404, str(error))
    if isinstance(error, BusUnavailable):
        headers = retry_after(UNAVAILABLE_RETRY_SECONDS)
        return Refusal(503, UNREADABLE, headers=headers, cause=str(error))
    return Refusal(500, UNREADABLE, cause=str(error))
