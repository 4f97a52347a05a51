"""A gateway that is mounted in an application of FastAPI."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.event.http_message import STRUCTURED
from celeriac.gateway import Slack, Token, gateway
from celeriac.testing.store import Store
from tests.unit.gateway.conftest import AUTHORIZED, ask, end

TOKEN = Token(
    "partner", "partner-secret-of-32-characters!", types=["parcel.*"], source="/partner",
    handlers=["search.*"],
)  # fmt: skip
EVENT = {"specversion": "1.0", "id": "p-1", "source": "/partner", "type": "parcel.sent"}


@pytest.fixture
def site(bus: EventBus, store: Store) -> Any:
    fastapi = pytest.importorskip("fastapi")
    app = gateway(bus, tokens=[TOKEN], hooks={"slack": Slack("secret-of-the-app")})

    @asynccontextmanager
    async def lifespan(site: Any) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    site = fastapi.FastAPI(lifespan=lifespan)

    async def parcels() -> list[int]:
        return [7]

    site.add_api_route("/parcels", parcels)
    site.mount("/bus", app)
    return site


def test_events_are_received_below_the_path(site: Any, store: Store) -> None:
    headers = {**AUTHORIZED, "content-type": STRUCTURED}
    answer = ask(site, "POST", "/bus/events", content=json.dumps(EVENT), headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"ids": ["p-1"]})
    assert store.event_log.length("parcel") == 1
    assert ask(site, "POST", "/events", content=json.dumps(EVENT), headers=headers).is_client_error


def test_routes_of_the_site_and_refusals_of_the_gateway_are_apart(site: Any) -> None:
    assert ask(site, "GET", "/parcels").json() == [7]
    refused = ask(site, "POST", "/bus/events", content=json.dumps(EVENT))
    assert refused.headers["content-type"] == "application/problem+json"
    assert ask(site, "GET", "/bus/unknown").status_code == 404
    assert ask(site, "POST", "/bus/hooks/slack", content=b"{}").status_code == 401
    assert ask(site, "GET", "/bus/healthz").json() == {"status": "ok"}
    assert ask(site, "GET", "/bus/readyz").status_code == 200


def test_a_handler_in_another_language_is_served_below_the_path(site: Any, store: Store) -> None:
    def call(method: str, path: str, **body: Any) -> Any:
        return ask(
            site, method, f"/bus/v1/handlers/search.index{path}", json=body, headers=AUTHORIZED
        ).json()

    call("PUT", "", patterns=["parcel.*"])
    headers = {**AUTHORIZED, "content-type": STRUCTURED}
    ask(site, "POST", "/bus/events", content=json.dumps(EVENT), headers=headers)
    [delivery] = call("POST", "/fetch", wait=5)["deliveries"]
    assert delivery["event"]["id"] == "p-1"
    done = call(
        "POST", "/complete", entry=delivery["entry"], attempt=delivery["attempt"],
        outcome="processed",
    )  # fmt: skip
    assert done == {"state": "processed"}
    deadline = time.monotonic() + 10
    while not store.registry.workers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [worker.service for worker in store.registry.workers()] == ["search"]
    end(site)
    # The lifespan of the site is that of the gateway: it signs off.
    assert store.registry.workers() == []
