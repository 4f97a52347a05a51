"""`bus.push`: a handler behind HTTP, on a bus in memory and a real server."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from standardwebhooks import Webhook

from celeriac import Breaker, ConfigurationError, EventBus, PushFailed, RetryPolicy
from celeriac.circuit_breaker import CircuitState
from celeriac.event.http_message import read_message
from celeriac.push import new_secret
from celeriac.testing import MemoryBus, in_memory
from tests.http_endpoint import Answered, HttpEndpoint


def traceback_of(memory: MemoryBus) -> str:
    return str(memory.store.deliveries.dead("order")[0].traceback)


def test_an_event_is_sent_in_binary_mode_and_processed(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    bus.push("order.*", url=f"{endpoint.url}/events", name="index")
    id = bus.emit("order.placed", {"n": 1}, subject="order/1")
    assert memory.run_until_idle().processed == 1
    [request] = endpoint.received
    [event] = read_message(request.headers, request.body)
    assert (event.id, event.type, event.subject) == (id, "order.placed", "order/1")
    assert request.body == b'{"n":1}'
    assert request.target == "/events"
    assert request.headers["celeriac-handler"] == "shop.index"
    assert request.headers["celeriac-attempt"] == "1"
    assert [done.id for done in memory.processed("shop.index")] == [id]


def test_structured_mode_has_the_event_as_its_body(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    bus.push("order.*", url=endpoint.url, name="index", structured=True)
    id = bus.emit("order.placed", {"n": 1})
    memory.run_until_idle()
    [request] = endpoint.received
    [event] = read_message(request.headers, request.body)
    assert event.id == id
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert "ce-id" not in request.headers


def test_a_failure_is_retried_with_the_number_of_the_attempt_and_the_same_id(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    answers = iter([503, 429, 200])
    endpoint.answer = lambda request: next(answers)
    bus.push("order.*", url=endpoint.url, name="index")
    id = bus.emit("order.placed")
    assert memory.run_until_idle().retried == 2
    assert endpoint.ids() == [id] * 3
    attempts = [request.headers["celeriac-attempt"] for request in endpoint.received]
    assert attempts == ["1", "2", "3"]


@pytest.mark.parametrize(("header", "least"), [("40", 40), ("0", 5), ("nonsense", 5)])
def test_retry_after_delays_the_retry_and_never_shortens_the_backoff(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint, header: str, least: int
) -> None:
    answers = iter([Answered(503, {"Retry-After": header}), Answered(200)])
    endpoint.answer = lambda request: next(answers)
    bus.push("order.*", url=endpoint.url, name="index", backoff=5, jitter=0)
    bus.emit("order.placed")
    begun = memory.now
    memory.run_until_idle()
    assert least <= (memory.now - begun).total_seconds() <= least + 2


def test_an_endpoint_that_does_not_answer_is_retried_until_it_is_dead(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: Answered(hangs=True)
    bus.push("order.*", url=f"{endpoint.url}/secret", name="index", timeout=0.1, retries=1)
    bus.emit("order.placed")
    memory.run_until_idle()
    [dead] = memory.dead
    assert dead.attempts == 2
    assert dead.error == f"PushFailed: {endpoint.url}: no answer within 0.1 s"


def test_a_refused_event_is_dead_at_once_with_the_masked_body_as_its_reason(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    body = b'{"error": "card 4111-1111 is expired", "trace": "' + b"x" * 5000
    endpoint.answer = lambda request: Answered(422, body=body)
    bus.push("order.*", url=endpoint.url, name="index")
    bus.emit("order.placed", {"card": "4111-1111"}, sensitive=["card"])
    memory.run_until_idle()
    [dead] = memory.dead
    assert dead.attempts == 1
    assert 'HTTP 422: {"error": "card *** is expired"' in dead.error
    assert len(dead.error) <= 500


def test_events_of_one_subject_stay_in_order_across_retries(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    failing = {"2"}

    def answer(request: Any) -> int:
        number = request.body.decode()
        if number in failing:
            failing.discard(number)
            return 500
        return 200

    endpoint.answer = answer
    bus.push("order.*", url=endpoint.url, name="index", ordered=True)
    for number in range(5):
        bus.emit("order.placed", number, subject="order/1")
    memory.run_until_idle(shuffle=7)
    assert [request.body for request in endpoint.received] == [b"0", b"1", b"2", b"2", b"3", b"4"]


def test_a_breaker_opens_while_the_endpoint_fails(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: 503
    bus.push("order.*", url=endpoint.url, name="index", breaker=Breaker(failures=3))
    for number in range(20):
        bus.emit("order.placed", number)
    memory.run_until_idle(jump=False)
    assert len(endpoint.received) == 3
    assert memory.store.backend.circuits.get("shop.index").state is CircuitState.OPEN
    endpoint.answer = lambda request: 200
    memory.run_until_idle()
    assert len(memory.processed("shop.index")) == 20


def test_failures_have_a_policy_of_their_own(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: 503
    policy = {PushFailed: RetryPolicy(retries=1)}
    bus.push("order.*", url=endpoint.url, name="index", on_error=policy)
    bus.emit("order.placed")
    memory.run_until_idle()
    assert len(endpoint.received) == 2


def test_headers_and_secrets_may_come_from_functions_and_are_shown_nowhere(
    bus: EventBus,
    memory: MemoryBus,
    endpoint: HttpEndpoint,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tokens, secret = iter(["topsecret-1", "topsecret-2"]), new_secret()
    endpoint.answer = lambda request: 500
    bus.push(
        "order.*",
        url=f"{endpoint.url}/topsecret-path",
        name="index",
        headers={"Authorization": lambda: f"Bearer {next(tokens)}", "x-team": "search"},
        secrets=lambda: secret,
        retries=1,
    )
    bus.emit("order.placed", {"n": 1})
    memory.run_until_idle()
    first, second = endpoint.received
    assert first.headers["authorization"] == "Bearer topsecret-1"
    assert second.headers["authorization"] == "Bearer topsecret-2"
    assert first.headers["x-team"] == "search"
    Webhook(secret).verify(first.body.decode(), first.headers)
    [dead] = memory.dead
    handler = bus.service.handlers["shop.index"]
    shown = [caplog.text, repr(handler), repr(bus), handler.doc, str(handler.describe_options())]
    shown += [dead.error, traceback_of(memory)]
    assert not [text for text in shown if "topsecret" in text or secret[6:] in text]


def test_a_header_that_is_invalid_at_the_time_of_the_request_is_not_shown(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    bus.push(
        "order.*", url=endpoint.url, name="index", headers={"x": lambda: "a\r\ntop: 1"}, retries=0
    )
    bus.emit("order.placed")
    memory.run_until_idle()
    [dead] = memory.dead
    assert "the value of the header 'x' must be" in dead.error
    assert "top" not in dead.error + traceback_of(memory)
    assert endpoint.received == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://search"}, "must begin with https:// or http://"),
        ({"url": "search:8080/events"}, "must begin with https:// or http://"),
        ({"url": "http://"}, "and a host"),
        ({"url": "http://a b:x/"}, "the URL"),
        ({"url": "http://me:hunter2@search/"}, "has a user or a password"),
        ({"timeout": 0}, "timeout=0: must be a number of seconds"),
        ({"timeout": True}, "timeout=True"),
        ({"batch": 10}, "it cannot have batch="),
        ({"inbox": object()}, "it cannot have inbox="),
        ({"broadcast": True}, "it cannot have broadcast="),
        ({"retrys": 3}, "it cannot have retrys="),
        ({"headers": {"a b": "c"}}, "'a b' is not the name of a header"),
        ({"headers": {"Host": "c"}}, "the header 'Host' is set by celeriac"),
        ({"headers": {"ce-id": "c"}}, "the header 'ce-id' is set by celeriac"),
        ({"headers": {"webhook-id": "c"}}, "is set by celeriac"),
        ({"headers": {"x": "hunter2\n"}}, "the value of the header 'x' must be"),
        ({"secrets": "hunter2!"}, "a secret is invalid"),
        ({"retries": -1}, "retries=-1"),
    ],
)
def test_a_wrong_argument_is_refused_at_import(
    bus: EventBus, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        bus.push("order.*", **{"url": "http://search/events", "name": "index", **options})
    assert message in str(raised.value)
    assert "shop.index" in str(raised.value) or "bus.push for 'index'" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_an_event_is_sent_again_with_its_id_if_the_process_dies_before_its_report(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    bus.push("order.*", url=endpoint.url, name="index")
    id = bus.emit("order.placed")
    memory.crash_before_ack()
    memory.run_until_idle()
    assert endpoint.ids() == [id, id]


def test_two_services_in_one_test_share_the_connections(endpoint: HttpEndpoint) -> None:
    shop, stock = EventBus(service="shop"), EventBus(service="stock")
    for service in (shop, stock):
        service.push("order.*", url=endpoint.url, name="index")
    with in_memory(shop, stock) as memory:
        shop.emit("order.placed")
        memory.run_until_idle()
    handlers = {request.headers["celeriac-handler"] for request in endpoint.received}
    assert handlers == {"shop.index", "stock.index"}
    assert endpoint.connections == 1
