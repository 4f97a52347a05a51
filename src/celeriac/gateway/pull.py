"""`/v1/handlers/…`: handlers in any language fetch their deliveries and complete them.

docs/reference/pull-protocol.md describes the protocol, and its vectors are a test of this module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from celeriac.errors import ConfigurationError
from celeriac.event.strict_decoder import without_lone_surrogates
from celeriac.gateway.context import Endpoint, GatewayContext
from celeriac.gateway.refusal import UNAVAILABLE_RETRY_SECONDS, Refusal, retry_after
from celeriac.gateway.request import read_body, read_headers
from celeriac.gateway.token import Token
from celeriac.pull.async_pull_handlers import AsyncPullHandlers
from celeriac.pull.completing import Completed
from celeriac.pull.pulled import PulledDelivery
from celeriac.pull.refusal import (
    HandlerRemoved,
    Invalid,
    NotPulled,
    PullRefused,
    UnknownHandler,
)
from celeriac.pull.registration import split_id
from celeriac.pull.result import (
    MAX_DELIVERIES,
    AttemptResult,
    convert,
    read_lease,
    read_result,
    read_results,
)
from celeriac.registry import HandlerRecord, PullOptions
from celeriac.unreadable import UNREADABLE

MAX_WAIT = 30.0  # seconds; proxies close connections that are idle for a minute


class FetchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a `fetch` request. `wait` is in seconds."""

    limit: int = 1
    wait: float = 0.0


def pull_routes(context: GatewayContext) -> Iterable[BaseRoute]:
    """Return the routes of pull handlers. A token acts for the handlers that it names."""
    handlers = AsyncPullHandlers(context.bus.service)
    context.closing.append(handlers.close)
    context.stopping.append(handlers.stop_waiting)

    async def check(token: Token, id: str) -> None:
        if token.tenants:
            # The endpoint answers for a handler that does not exist.
            with suppress(UnknownHandler, HandlerRemoved, NotPulled):
                _check_tenants(token, await handlers.record(id))

    async def register(request: Request, id: str, token: Token) -> Response:
        # A new registration takes effect for events that wait: those of other tenants are skipped.
        await check(token, id)
        body = await _json(request, context)
        if token.tenants and body.get("tenants") is None:
            body = {**body, "tenants": token.tenants}
        elif isinstance(body.get("tenants"), list):
            token.check_tenants(body["tenants"])
        return _answer(_described(await handlers.register(id, body)))

    async def show(request: Request, id: str, token: Token) -> Response:
        await check(token, id)
        return _answer(_described(await handlers.record(id)))

    async def unregister(request: Request, id: str, token: Token) -> Response:
        await check(token, id)
        await handlers.unregister(id)
        return Response(status_code=204)

    async def fetch(request: Request, id: str, token: Token) -> Response:
        await check(token, id)
        options = _fetch_options(await _json(request, context))
        given = await handlers.fetch(
            id,
            options.limit,
            options.wait,
            request.is_disconnected,
            # Again for each fetch: it may be registered for other tenants while the request waits.
            lambda record: _check_tenants(token, record),
        )
        return _deliveries(given)

    async def complete(request: Request, id: str, token: Token) -> Response:
        await check(token, id)
        body = await _json(request, context)
        if "results" in body:
            results = read_results(body)
            answers = await handlers.complete_many(id, results)
            return _answer({"results": list(map(_result, results, answers))})
        return _answer(_completed(await handlers.complete(id, read_result(body))))

    async def renew(request: Request, id: str, token: Token) -> Response:
        await check(token, id)
        reference, attempt = read_lease(await _json(request, context))
        return _answer({"deadline": _time(await handlers.renew(id, reference, attempt))})

    for path, endpoint, method in (
        ("", register, "PUT"),
        ("", show, "GET"),
        ("", unregister, "DELETE"),
        ("/fetch", fetch, "POST"),
        ("/complete", complete, "POST"),
        ("/renew", renew, "POST"),
    ):
        name = f"{method} /v1/handlers/{{id}}{path}"
        checked = _authorized(context, endpoint)
        yield Route(f"/v1/handlers/{{id}}{path}", context.guarded(name, checked), methods=[method])


def _authorized(
    context: GatewayContext, endpoint: Callable[[Request, str, Token], Awaitable[Response]]
) -> Endpoint:
    """Return the endpoint for tokens that may act for the handler in the path."""

    async def authorized(request: Request) -> Response:
        token = context.authenticate(request)
        id = request.path_params["id"]
        try:
            split_id(id)
            token.check_handler(id)
            return await endpoint(request, id, token)
        except PullRefused as error:
            raise Refusal(error.status, str(error), field=error.field, code=error.code) from error
        except ConfigurationError as error:
            raise Refusal(500, "the gateway cannot serve this handler", cause=str(error)) from error
        except redis.RedisError as error:
            raise Refusal(
                503,
                "the bus is unreachable. Send the request again",
                code="unavailable",
                headers=retry_after(UNAVAILABLE_RETRY_SECONDS),
                cause=str(error),
            ) from error

    return authorized


def _check_tenants(token: Token, record: HandlerRecord) -> None:
    token.check_tenants(record.pull.tenants if record.pull else None)


async def _json(request: Request, context: GatewayContext) -> Mapping[str, Any]:
    """Return the JSON object in the body; an empty body is an empty object. Raises Invalid."""
    read_headers(request.scope["headers"])
    body = await read_body(request, context.limits)
    if not body:
        return {}
    try:
        decoded = msgspec.json.decode(without_lone_surrogates(body))
    except UNREADABLE:
        raise Invalid("the body is not valid JSON") from None
    if not isinstance(decoded, dict):
        raise Invalid("the body must be a JSON object")
    return decoded


def _fetch_options(body: Mapping[str, Any]) -> FetchOptions:
    options: FetchOptions = convert(body, FetchOptions)
    if not 1 <= options.limit <= MAX_DELIVERIES:
        raise Invalid(f"`limit` must be from 1 to {MAX_DELIVERIES}", field="limit")
    if not 0 <= options.wait <= MAX_WAIT:
        raise Invalid(f"`wait` must be from 0 to {MAX_WAIT:g} seconds", field="wait")
    return options


def _deliveries(given: Sequence[PulledDelivery]) -> Response:
    deliveries = [
        {
            "entry": str(delivery.reference),
            "attempt": delivery.attempt,
            "deadline": _time(delivery.deadline_ms),
            "event": msgspec.Raw(delivery.event),
        }
        for delivery in given
    ]
    return _answer({"deliveries": deliveries})


def _completed(completed: Completed) -> dict[str, Any]:
    answer: dict[str, Any] = {"state": completed.state.value}
    if completed.retry_in is not None:
        answer["retry_in"] = completed.retry_in
    return answer


def _result(result: AttemptResult, answer: Completed | PullRefused) -> dict[str, Any]:
    """Return the answer to one of several results: its state, or the problem."""
    named = {"entry": str(result.reference)}
    if isinstance(answer, Completed):
        return {**named, **_completed(answer)}
    return {**named, "status": answer.status, "code": answer.code, "detail": str(answer)}


def _described(record: HandlerRecord) -> dict[str, Any]:
    pull = record.pull or PullOptions()
    options = msgspec.to_builtins(pull)
    # Also if it is the default, which is omitted: clients must know it.
    return {"id": record.id, "patterns": record.patterns, **options, "lease": pull.lease}


def _time(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _answer(body: Mapping[str, Any]) -> Response:
    return Response(
        msgspec.json.encode(body),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
