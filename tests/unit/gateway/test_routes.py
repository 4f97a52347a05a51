"""Routes of other modules in the same application: the same tokens, limits and error answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from celeriac import BusUnavailable, EventBus, InvalidEvent, NotFound
from celeriac.gateway import GatewayContext, Limits, gateway
from celeriac.testing.store import Store
from tests.unit.gateway.asgi import Slow, until_waiting
from tests.unit.gateway.conftest import AUTHORIZED, PARTNER, ask

ERRORS: dict[str, Exception] = {
    "invalid": InvalidEvent("`id` is missing"),
    "unavailable": BusUnavailable("cannot reach Redis at internal"),
    "missing": NotFound("no handler"),
}


def scale_routes(context: GatewayContext) -> Iterable[BaseRoute]:
    async def scale(request: Request) -> Response:
        token = context.authenticate(request)
        service = request.path_params["service"]
        if service in ERRORS:
            raise ERRORS[service]
        if service == "slow":
            await request.body()
        return JSONResponse({"token": token.name, "bus": context.bus.settings.service})

    path = "/v1/things/{service}"
    yield Route(path, context.guarded("/v1/things", scale), methods=["GET", "POST"])


def test_a_further_route_has_the_tokens_of_the_gateway(bus: EventBus, store: Store) -> None:
    app = gateway(bus, tokens=[PARTNER], routes=[scale_routes])
    assert ask(app, "GET", "/v1/things/billing").status_code == 401
    answer = ask(app, "GET", "/v1/things/billing", headers=AUTHORIZED)
    assert answer.json() == {"token": "partner", "bus": "billing"}


@pytest.mark.parametrize(
    ("service", "status"), [("invalid", 400), ("unavailable", 503), ("missing", 500)]
)
def test_errors_of_a_further_route_are_answered(
    bus: EventBus, store: Store, service: str, status: int
) -> None:
    app = gateway(bus, tokens=[PARTNER], routes=[scale_routes])
    answer = ask(app, "GET", f"/v1/things/{service}", headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert "internal" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/unknown", 404),
        ("GET", "/v1/handlers", 404),
        ("GET", "/v1/scale/a/b", 404),
        ("GET", "/events", 405),
        ("POST", "/metrics", 405),
        ("GET", "/hooks/stripe", 405),
    ],
)
def test_a_request_without_a_route_is_answered_as_a_problem(
    bus: EventBus, store: Store, method: str, path: str, status: int
) -> None:
    answer = ask(gateway(bus, tokens=[PARTNER]), method, path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert ("allow" in answer.headers) == (status == 405)


def test_an_unexpected_error_is_answered_as_a_problem_and_raised_for_the_log(
    bus: EventBus, store: Store
) -> None:
    def failing(context: GatewayContext) -> Iterable[BaseRoute]:
        async def fail(request: Request) -> Response:
            raise RuntimeError("the name of a server")

        yield Route("/fail", context.guarded("/fail", fail))

    app = gateway(bus, routes=[failing])
    with pytest.raises(RuntimeError):
        ask(app, "GET", "/fail")

    async def answered() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get("/fail")

    answer = asyncio.run(answered())
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")
    assert "server" not in answer.json()["detail"]


def test_a_further_route_has_its_own_slots(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        limits = Limits(max_requests=1)
        app = gateway(bus, tokens=[PARTNER], routes=[scale_routes], limits=limits)
        slow = [Slow(app, AUTHORIZED, "/v1/things/slow") for _ in range(2)]
        slow[0].begin()
        await until_waiting(slow[:1])
        slow[1].begin()
        assert await slow[1].answer() == 503
        slow[0].send(b"", more=False)
        assert await slow[0].answer() == 200

    asyncio.run(run())
