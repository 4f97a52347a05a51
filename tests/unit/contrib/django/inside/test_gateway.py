"""A gateway and a Django site in one ASGI application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.test.utils import override_settings
from django.urls import path
from starlette.applications import Starlette
from starlette.routing import Mount

from celeriac import EventBus
from celeriac.event.http_message import STRUCTURED
from celeriac.gateway import Token, gateway
from tests.unit.outbox.conftest import published

SECRET = "partner-secret-of-32-characters!"


def parcels(request: HttpRequest) -> HttpResponse:
    return HttpResponse("parcels of the site")


urlpatterns = [path("parcels", parcels)]


def test_both_answer_below_their_paths(live: EventBus) -> None:
    app = gateway(live, tokens=[Token("partner", SECRET, types=["order.*"])])
    site = Starlette(routes=[Mount("/bus", app), Mount("/", get_asgi_application())])
    event = {"specversion": "1.0", "id": "p-1", "source": "partner", "type": "order.placed"}
    headers = {"authorization": f"Bearer {SECRET}", "content-type": STRUCTURED}

    async def ask() -> tuple[Any, Any, Any]:
        transport = httpx.ASGITransport(app=site)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            received = await client.post("/bus/events", content=json.dumps(event), headers=headers)
            refused = await client.post("/bus/events", content=json.dumps(event))
            shown = await client.get("/parcels")
        await live.aclose()
        return received, refused, shown

    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"]):
        received, refused, shown = asyncio.run(ask())
    assert (received.status_code, received.json()) == (202, {"ids": ["p-1"]})
    assert refused.status_code == 401
    assert (shown.status_code, shown.text) == (200, "parcels of the site")
    assert published(live) == ["p-1"]
