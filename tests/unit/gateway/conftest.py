"""Requests to a gateway, in this process, on a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from celeriac import EventBus
from celeriac.gateway import Token, gateway
from celeriac.testing.store import Store

SECRET = "partner-secret-of-32-characters!"
AUTHORIZED = {"authorization": f"Bearer {SECRET}"}
PARTNER = Token("partner", SECRET, types=["parcel.*"], source="/partner", scale=["*"])

App = Any
Ask = Callable[..., httpx.Response]


def ask(app: App, method: str, path: str, **request: Any) -> httpx.Response:
    """Sends one request, and returns its answer."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def end(app: App) -> None:
    """The application ends, as an ASGI server requests it."""

    async def run() -> None:
        async with app.router.lifespan_context(app):
            pass

    asyncio.run(run())


@pytest.fixture
def app(bus: EventBus, store: Store) -> Iterator[App]:
    yield gateway(bus, tokens=[PARTNER])


@pytest.fixture
def post(app: App) -> Ask:
    """Sends an event to `/events` with the partner's token."""

    def post(content: bytes | str, headers: dict[str, str]) -> httpx.Response:
        return ask(app, "POST", "/events", content=content, headers={**AUTHORIZED, **headers})

    return post
