"""The routes for probes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from celeriac import EventBus
from celeriac.gateway import gateway
from celeriac.testing.store import Store
from tests.unit.gateway.conftest import App, ask

NOWHERE = "redis://127.0.0.1:1/0"


def test_a_process_that_answers_lives(bus: EventBus) -> None:
    answer = ask(gateway(bus), "GET", "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_it_is_ready_if_redis_answers(app: App, store: Store) -> None:
    assert ask(app, "GET", "/readyz").json() == {"status": "ok", "redis": "reachable"}


def test_it_is_not_ready_without_redis(bus: EventBus) -> None:
    answer = ask(gateway(bus), "GET", "/readyz")
    assert (answer.status_code, answer.json()["redis"]) == (503, "unreachable")


def test_with_a_spool_it_is_ready_without_redis(tmp_path: Path) -> None:
    bus = EventBus(service="billing", redis_url=NOWHERE, spool=str(tmp_path / "spool"))
    answer = ask(gateway(bus), "GET", "/readyz")
    assert (answer.status_code, answer.json()["redis"]) == (200, "unreachable")


def test_many_probes_read_redis_once(bus: EventBus, store: Store) -> None:
    pings = 0

    async def ping() -> None:
        nonlocal pings
        pings += 1

    store.backend.async_event_log.ping = ping  # type: ignore[method-assign]
    app = gateway(bus)

    async def probe() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await asyncio.gather(*(client.get("/readyz") for _ in range(20)))

    asyncio.run(probe())
    assert pings == 1
