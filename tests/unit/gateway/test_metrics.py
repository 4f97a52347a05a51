"""What a gateway accepted and refused, as Prometheus reads it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from celeriac import EventBus
from celeriac.event.http_message import BATCH, STRUCTURED
from celeriac.gateway import Limits, Slack, Token, gateway
from celeriac.gateway.receiver import Receiver
from celeriac.gateway.refusal import Refusal
from celeriac.testing.store import Store
from tests.unit.gateway.asgi import Slow, until_waiting
from tests.unit.gateway.conftest import AUTHORIZED, PARTNER, ask

WATCHER = Token("prometheus", "prometheus-secret-of-32-charact!", metrics=True)
WATCHING = {"authorization": "Bearer prometheus-secret-of-32-charact!"}
EVENT = {"specversion": "1.0", "id": "p-1", "source": "/partner", "type": "parcel.sent"}
HEADERS = {**AUTHORIZED, "content-type": STRUCTURED}


@pytest.fixture
def app(bus: EventBus, store: Store) -> Any:
    limits = Limits(max_body=2000)
    return gateway(
        bus, tokens=[PARTNER, WATCHER], hooks={"slack": Slack("secret-of-the-app")}, limits=limits
    )


def scrape(app: Any) -> dict[str, dict[tuple[str, ...], float]]:
    """Series → its values by route, token and reason, those above 0."""
    answer = ask(app, "GET", "/metrics", headers=WATCHING)
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.value:
                names = [name for name in ("route", "token", "reason") if name in sample.labels]
                labels = (*(sample.labels[name] for name in names),)
                found.setdefault(sample.name, {})[labels] = sample.value
    return found


def post(app: Any, content: Any, headers: dict[str, str] = HEADERS, path: str = "/events") -> int:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ask(app, "POST", path, content=body, headers=headers).status_code


def test_accepted_events_are_counted_by_route_and_token(app: Any) -> None:
    assert post(app, EVENT) == 202
    batch = [{**EVENT, "id": f"b-{n}"} for n in range(3)]
    assert post(app, batch, {**AUTHORIZED, "content-type": BATCH}) == 202
    found = scrape(app)
    assert found["celeriac_gateway_accepted_total"] == {("/events", "partner"): 4}
    assert found["celeriac_gateway_request_seconds_count"] == {("/events",): 2}
    assert found["celeriac_gateway_request_seconds_sum"]["/events",] > 0
    assert "celeriac_gateway_refused_total" not in found
    assert found["celeriac_gateway_running"] == {("/metrics",): 1}


def test_refusals_are_counted_by_their_reason(app: Any) -> None:
    assert post(app, EVENT, {"content-type": STRUCTURED}) == 401
    assert post(app, EVENT, {**HEADERS, "authorization": "Bearer unknown"}) == 401
    assert post(app, {**EVENT, "type": "order.placed"}) == 403
    assert post(app, {**EVENT, "id": ""}) == 400
    assert post(app, b"x", {**AUTHORIZED, "content-type": "text/plain"}) == 415
    assert post(app, b" " * 2001) == 413
    assert post(app, EVENT, {}, "/hooks/slack") == 401
    assert post(app, EVENT, {}, "/hooks/unknown") == 404
    refused = scrape(app)["celeriac_gateway_refused_total"]
    assert refused == {
        ("/events", "", "unauthorized"): 2,
        ("/events", "partner", "forbidden"): 1,
        ("/events", "partner", "invalid"): 2,
        ("/events", "partner", "too_large"): 1,
        ("/hooks/slack", "", "unauthorized"): 1,
        ("/hooks", "", "not_found"): 1,
    }


@pytest.mark.parametrize(
    ("refusal", "reason"), [(Refusal(429, "no room"), "full"), (Refusal(503, ""), "unavailable")]
)
def test_a_batch_that_is_refused_in_part_is_counted_as_both(
    app: Any, monkeypatch: pytest.MonkeyPatch, refusal: Refusal, reason: str
) -> None:
    async def receive(*_: object) -> None:
        refusal.accepted = 2
        raise refusal

    monkeypatch.setattr(Receiver, "receive", receive)
    assert post(app, EVENT) == refusal.status
    found = scrape(app)
    assert found["celeriac_gateway_accepted_total"] == {("/events", "partner"): 2}
    assert found["celeriac_gateway_refused_total"] == {("/events", "partner", reason): 1}


def test_an_error_of_the_gateway_is_counted_and_not_hidden(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def receive(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Receiver, "receive", receive)
    with pytest.raises(ZeroDivisionError):
        post(app, EVENT)
    assert scrape(app)["celeriac_gateway_refused_total"] == {("/events", "partner", "failed"): 1}


def test_too_many_requests_are_counted(bus: EventBus, store: Store) -> None:
    async def run(app: Any) -> None:
        slow = Slow(app, HEADERS)
        slow.begin()
        await until_waiting([slow])
        for _ in range(2):
            request = Slow(app, HEADERS)
            request.begin()
            assert await request.answer() == 503
        slow.disconnect()
        await slow.answer()

    app = gateway(bus, tokens=[PARTNER, WATCHER], limits=Limits(max_requests=1))
    asyncio.run(run(app))
    refused = scrape(app)["celeriac_gateway_refused_total"]
    assert refused["/events", "", "too_many"] == 2


@pytest.mark.parametrize("step", [0, 1, 5, 50])
def test_a_cancelled_request_is_counted_and_leaves_no_slot(app: Any, step: int) -> None:
    """As the middleware of Starlette cancels it when its client disconnects."""

    async def run() -> None:
        request = Slow(app, HEADERS)
        request.begin()
        await until_waiting([request])
        request.send(json.dumps(EVENT).encode()[:20])
        for _ in range(step):
            await asyncio.sleep(0)
        assert request.task is not None
        request.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request.task

    asyncio.run(run())
    counted = scrape(app)
    assert counted["celeriac_gateway_refused_total"] == {("/events", "partner", "cancelled"): 1}
    assert counted["celeriac_gateway_running"] == {("/metrics",): 1}
    assert counted["celeriac_gateway_request_seconds_count"]["/events",] == 1


def test_only_a_token_for_metrics_may_read_them(app: Any) -> None:
    assert ask(app, "GET", "/metrics").status_code == 401
    refused = ask(app, "GET", "/metrics", headers=AUTHORIZED)
    assert refused.status_code == 403 and "metrics=True" in refused.json()["detail"]
    assert post(app, EVENT, {**HEADERS, **WATCHING}) == 403


def test_without_prometheus_client_the_route_names_it_and_the_others_work(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "celeriac.gateway.exposition", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert ask(app, "GET", "/metrics", headers=WATCHING).status_code == 501
    assert post(app, EVENT) == 202
