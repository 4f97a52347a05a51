"""Large, slow and many requests: each is refused, and none holds the gateway."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from celeriac import ConfigurationError, EventBus
from celeriac.event.http_message import STRUCTURED
from celeriac.gateway import Limits, Slack, Token, gateway
from celeriac.testing.store import Store
from tests.unit.gateway.asgi import Slow, until_waiting
from tests.unit.gateway.conftest import AUTHORIZED, PARTNER
from tests.unit.gateway.hook.signing import slack

OTHER = Token("other", "other-secret-of-32-characters!!!", types=["parcel.*"])
OTHERS = {"authorization": "Bearer other-secret-of-32-characters!!!", "content-type": STRUCTURED}
SLACK_SECRET = "secret-of-the-app"
HEADERS = {**AUTHORIZED, "content-type": STRUCTURED}
EVENT = {"specversion": "1.0", "id": "p-1", "source": "/partner", "type": "parcel.sent"}
BODY = json.dumps(EVENT).encode()


def limited(bus: EventBus, **limits: Any) -> Any:
    hooks = {"slack": Slack(SLACK_SECRET)}
    return gateway(bus, tokens=[PARTNER], hooks=hooks, limits=Limits(**limits))


def begun(app: Any, headers: dict[str, str] = HEADERS, path: str = "/events") -> Slow:
    request = Slow(app, headers, path)
    request.begin()
    return request


def test_a_body_over_the_limit_is_refused_before_all_of_it_is_read(
    bus: EventBus, store: Store
) -> None:
    async def run() -> None:
        request = begun(limited(bus, max_body=1000))
        request.send(*[b" " * 400] * 3)  # and more would follow
        assert await request.answer() == 413

    asyncio.run(run())


@pytest.mark.parametrize("length", ["1001", "0001001", "9" * 5000])
def test_a_declared_length_over_the_limit_is_refused_without_reading(
    bus: EventBus, store: Store, length: str
) -> None:
    async def run() -> None:
        request = begun(limited(bus, max_body=1000), {**HEADERS, "content-length": length})
        assert await request.answer() == 413

    asyncio.run(run())


def test_the_default_limit_is_that_of_an_event(store: Store) -> None:
    async def run() -> None:
        bus = EventBus(service="billing", max_event_bytes=300)
        request = begun(gateway(bus, tokens=[PARTNER]))
        request.send(b" " * 301)
        assert await request.answer() == 413

    asyncio.run(run())


def test_a_body_that_arrives_too_slowly_is_refused(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        request = begun(limited(bus, body_timeout=0.05))
        request.send(BODY[:10])
        assert await request.answer() == 408
        assert store.event_log.domains() == frozenset()

    asyncio.run(run())


def test_a_body_in_parts_is_accepted(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        request = begun(limited(bus))
        request.send(*[bytes([byte]) for byte in BODY])
        request.send(b"", more=False)
        assert await request.answer() == 202

    asyncio.run(run())


def test_a_client_that_disconnects_frees_its_slot(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        app = limited(bus, max_requests=1)
        for _ in range(3):
            request = begun(app)
            request.send(BODY[:10])
            request.disconnect()
            assert await request.answer() == 400

    asyncio.run(run())


def test_too_many_requests_at_once_are_refused_and_accepted_later(
    bus: EventBus, store: Store
) -> None:
    async def run() -> None:
        app = limited(bus, max_requests=2)
        slow = [begun(app) for _ in range(2)]
        await until_waiting(slow)
        refused = begun(app)
        assert await refused.answer() == 503
        for request in slow:
            request.send(BODY, more=False)
            assert await request.answer() == 202
        accepted = begun(app)
        accepted.send(BODY, more=False)
        assert await accepted.answer() == 202

    asyncio.run(run())


def test_one_token_cannot_take_the_slots_of_the_others(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        app = gateway(bus, tokens=[PARTNER, OTHER], limits=Limits(max_requests=4))
        noisy = [begun(app) for _ in range(3)]
        await until_waiting(noisy)
        refused = begun(app)
        assert await refused.answer() == 429
        assert b"3 requests of the token partner run already" in refused.body
        other = begun(app, OTHERS)
        other.send(json.dumps({**EVENT, "source": "other"}).encode(), more=False)
        assert await other.answer() == 202
        noisy[0].disconnect()
        assert await noisy[0].answer() == 400
        accepted = begun(app)
        accepted.send(BODY, more=False)
        assert await accepted.answer() == 202

    asyncio.run(run())


@pytest.mark.parametrize(
    ("tokens", "given", "expected"), [(1, 0, 8), (2, 0, 6), (3, 2, 2), (1, 2, 2)]
)
def test_one_token_alone_may_take_all_slots_unless_it_is_limited(
    bus: EventBus, store: Store, tokens: int, given: int, expected: int
) -> None:
    limits = Limits(max_requests=8, max_token_requests=given).completed(1000, tokens)
    assert (limits.max_token_requests, limits.max_body) == (expected, 1000)
    assert Limits(max_requests=1).completed(1000, 2).max_token_requests == 1


def test_slots_of_a_token_are_those_of_one_route(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        limits = Limits(max_requests=4, max_token_requests=1)
        app = gateway(bus, tokens=[PARTNER], limits=limits)
        slow = begun(app)
        await until_waiting([slow])
        assert await begun(app).answer() == 429
        # Refused because of what it asks for, and not because of the slot.
        assert await begun(app, HEADERS, "/v1/handlers/search.index/fetch").answer() == 403
        slow.send(BODY, more=False)
        assert await slow.answer() == 202

    asyncio.run(run())


def test_slow_requests_to_one_webhook_occupy_no_other_route(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        app = limited(bus, max_requests=1)
        await until_waiting([begun(app, {}, "/hooks/slack")])
        request = begun(app)
        request.send(BODY, more=False)
        assert await request.answer() == 202

    asyncio.run(run())


def test_slow_requests_to_a_webhook_do_not_keep_out_a_signed_one(
    bus: EventBus, store: Store
) -> None:
    body = b'{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}'

    async def run() -> None:
        app = limited(bus, max_requests=2)
        slow = [begun(app, {}, "/hooks/slack") for _ in range(2)]
        await until_waiting(slow)
        signed = begun(app, slack(body, SLACK_SECRET, at=int(time.time())), "/hooks/slack")
        signed.send(body, more=False)
        assert (await signed.answer(), await slow[0].answer()) == (202, 503)
        assert not slow[1].status

    asyncio.run(run())


def test_requests_to_a_webhook_at_once_are_limited(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        app = limited(bus, max_requests=2)
        requests = [begun(app, {}, "/hooks/slack") for _ in range(50)]
        await until_waiting(requests)
        waiting = [request for request in requests if not request.status]
        assert waiting == requests[-2:]
        assert {request.status for request in requests[:-2]} == {503}
        for request in waiting:
            request.disconnect()
            assert await request.answer() == 400

    asyncio.run(run())


def test_without_a_token_a_slow_request_occupies_no_slot(bus: EventBus, store: Store) -> None:
    async def run() -> None:
        assert await begun(limited(bus, max_requests=1), {}).answer() == 401

    asyncio.run(run())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_body": -1}, {"max_body": 1.5}, {"max_batch": 0}, {"max_batch": True},
        {"body_timeout": 0}, {"body_timeout": float("inf")}, {"body_timeout": float("nan")},
        {"max_requests": 0}, {"max_requests": "many"}, {"max_token_requests": -1},
    ],
)  # fmt: skip
def test_an_impossible_limit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Limits(**wrong)
