"""A gateway on a real Redis: duplicates, a full log, and an event loop that is never blocked."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from celeriac import EventBus
from celeriac.event.http_message import BATCH, STRUCTURED
from celeriac.gateway import gateway
from celeriac.testing.server import EmbeddedServer
from tests.unit.gateway.conftest import AUTHORIZED, PARTNER, ask

EVENT = {"specversion": "1.0", "id": "p-1", "source": "/partner", "type": "parcel.sent"}
HEADERS = {**AUTHORIZED, "content-type": STRUCTURED}


@pytest.fixture(params=["redis_server", "redis_cluster"])
def options(request: pytest.FixtureRequest, namespace: str) -> dict[str, Any]:
    url = request.getfixturevalue(request.param).url
    return {"service": "billing", "redis_url": url, "namespace": namespace}


def length(bus: EventBus) -> int:
    return bus.service.backend.event_log.length("parcel")


def post(app: Any, *ids: str) -> httpx.Response:
    batch = json.dumps([{**EVENT, "id": id} for id in ids])
    headers = {**AUTHORIZED, "content-type": BATCH}
    return ask(app, "POST", "/events", content=batch, headers=headers)


def test_a_repetition_appends_nothing_in_any_process(options: dict[str, Any]) -> None:
    for ids in (["a", "b"], ["b", "a", "b"], ["c", "a"]):
        app = gateway(EventBus(**options), tokens=[PARTNER])  # as after a restart
        assert (post(app, *ids).status_code, post(app, *ids).json()) == (202, {"ids": ids})
    assert length(EventBus(**options)) == 3


def test_it_is_ready_if_redis_answers(options: dict[str, Any]) -> None:
    assert ask(gateway(EventBus(**options)), "GET", "/readyz").status_code == 200


def test_concurrent_repetitions_are_one_event(options: dict[str, Any]) -> None:
    bus = EventBus(**options)
    app = gateway(bus, tokens=[PARTNER])

    async def run() -> list[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            content = json.dumps(EVENT)
            answers = await asyncio.gather(
                *(client.post("/events", content=content, headers=HEADERS) for _ in range(50))
            )
            return [answer.status_code for answer in answers]

    assert set(asyncio.run(run())) == {202}
    assert length(bus) == 1


def test_a_full_log_is_refused_at_once_whatever_log_full_is(options: dict[str, Any]) -> None:
    bus = EventBus(**options, max_backlog=4, log_full="block", emit_timeout=30)
    bus.service.backend.event_log.join("parcel", "billing.count", "0")
    app = gateway(bus, tokens=[PARTNER])
    began = time.monotonic()
    answer = post(app, *(f"p-{n}" for n in range(10)))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert answer.json()["accepted"] == length(bus) == 4
    assert time.monotonic() - began < 10


def test_while_redis_is_unreachable_other_requests_are_answered() -> None:
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0", emit_timeout=0.5)
    app = gateway(bus, tokens=[PARTNER])

    async def run() -> tuple[int, int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            emit = asyncio.create_task(
                client.post("/events", content=json.dumps(EVENT), headers=HEADERS)
            )
            await asyncio.sleep(0)
            health = await client.get("/healthz")
            assert not emit.done()
            return health.status_code, (await emit).status_code

    assert asyncio.run(run()) == (200, 503)


def test_with_a_spool_events_are_accepted_while_redis_is_unreachable(tmp_path: Path) -> None:
    bus = EventBus(
        service="billing",
        redis_url="redis://127.0.0.1:1/0",
        spool=str(tmp_path / "spool"),
        emit_timeout=0.2,
    )
    assert post(gateway(bus, tokens=[PARTNER]), "a").status_code == 202


def test_a_delayed_emit_of_the_bus_still_waits_for_room(options: dict[str, Any]) -> None:
    """The gateway does not change how the application itself emits."""
    bus = EventBus(**options, max_backlog=2, log_full="block", emit_timeout=0.3)
    bus.service.backend.event_log.join("parcel", "billing.count", "0")
    assert post(gateway(bus, tokens=[PARTNER]), "a", "b", "c").status_code == 429
    began = time.monotonic()
    with pytest.raises(Exception, match="full"):
        asyncio.run(bus.aemit("parcel.sent"))
    assert time.monotonic() - began >= 0.3


def test_a_redis_user_that_may_not_read_the_settings_is_ready(
    namespace: str, redis_server: EmbeddedServer
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.execute_command("ACL SETUSER gateway on >secret ~* +@all -hgetall")
    url = redis_server.url.replace("redis://", "redis://gateway:secret@")
    bus = EventBus(service="billing", redis_url=url, namespace=namespace)
    app = gateway(bus, tokens=[PARTNER])
    assert ask(app, "GET", "/readyz").status_code == 200
    assert post(app, "a").status_code == 202
