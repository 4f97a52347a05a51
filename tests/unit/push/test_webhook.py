"""`bus.webhooks`: one delivery for each endpoint of a customer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from celeriac import Breaker, ConfigurationError, EventBus, SubscriptionError
from celeriac.circuit_breaker import CircuitState
from celeriac.event import decode, masked
from celeriac.push import Endpoint, new_secret
from celeriac.testing import MemoryBus
from tests.http_endpoint import Answered, HttpEndpoint, http_endpoint

POST = "shop.webhooks_post"


def endpoints_on(server: HttpEndpoint, *ids: str, **options: Any) -> list[Endpoint]:
    return [Endpoint(id=id, url=f"{server.url}/{id}", **options) for id in ids]


def subscribe(bus: EventBus, found: Any, **options: Any) -> None:
    given: Any = found if callable(found) else lambda event: found
    bus.webhooks("order.*", endpoints=given, **{"allow_private": True, **options})


def targets(server: HttpEndpoint) -> list[str]:
    return [request.target for request in server.received]


def test_each_endpoint_gets_the_signed_event_once(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    secrets = {"acme": new_secret(), "bolt": new_secret()}
    found = [Endpoint(id=i, url=f"{endpoint.url}/{i}", secrets=s) for i, s in secrets.items()]
    subscribe(bus, found)
    id = bus.emit("order.placed", {"n": 1}, subject="order/1")
    memory.run_until_idle()
    assert sorted(targets(endpoint)) == ["/acme", "/bolt"]
    for request in endpoint.received:
        name = request.target[1:]
        body = Webhook(secrets[name]).verify(request.body.decode(), request.headers)
        assert body == json.loads(request.body)
        assert (body["id"], body["type"], body["data"]) == (id, "order.placed", {"n": 1})
        assert request.headers["webhook-id"].endswith(f"/{name}")
        assert request.headers["webhook-id"].startswith(id)


def test_the_event_of_a_delivery_has_no_secret_and_no_url(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    secret = new_secret()
    subscribe(bus, endpoints_on(endpoint, "acme", secrets=secret, headers={"x": "topsecret"}))
    bus.emit("order.placed", {"n": 1})
    memory.run_until_idle()
    text = " ".join(str(emit.body) for emit in memory.store.event_log.emitted)
    assert "webhooks.order.placed" in text
    assert not [word for word in (secret[6:], endpoint.url, "topsecret") if word in text]


def test_a_repeated_fan_out_sends_nothing_twice(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    subscribe(bus, endpoints_on(endpoint, "acme", "bolt"))
    bus.emit("order.placed")
    memory.crash_before_ack()
    memory.run_until_idle()
    memory.redeliver_all("shop.webhooks")
    memory.run_until_idle()
    assert sorted(targets(endpoint)) == ["/acme", "/bolt"]


def test_equal_ids_of_two_sources_are_two_deliveries(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    subscribe(bus, endpoints_on(endpoint, "acme", secrets=new_secret()))
    for source in ("a", "b"):
        bus.emit("order.placed", id="1", source=source)
    memory.run_until_idle()
    assert len({request.headers["webhook-id"] for request in endpoint.received}) == 2


def test_each_delivery_is_retried_on_its_own_and_its_dead_letter_names_the_endpoint(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: Answered(500 if request.target == "/bolt" else 200)
    subscribe(bus, endpoints_on(endpoint, "acme", "bolt"), retries=2, breaker=None)
    bus.emit("order.placed")
    memory.run_until_idle()
    assert sorted(targets(endpoint)) == ["/acme", "/bolt", "/bolt", "/bolt"]
    [dead] = memory.dead
    assert dead.error == "PushFailed: endpoint bolt: HTTP 500"
    assert dead.handler == POST


def test_the_endpoint_is_looked_up_again_for_each_attempt(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    """A new URL or secret applies to a retry; a removed endpoint gets nothing."""
    seen: list[Any] = []
    with http_endpoint() as other:
        endpoint.answer = lambda request: 500
        current = [endpoints_on(endpoint, "acme"), endpoints_on(endpoint, "acme")]
        moved = endpoints_on(other, "acme")

        async def find(event: Any) -> list[Endpoint]:
            seen.append(event.data)
            return current.pop() if current else moved

        subscribe(bus, find)
        bus.emit("order.placed", {"n": 1})
        memory.run_until_idle()
        assert (len(endpoint.received), len(other.received)) == (1, 1)
    assert seen == [{"n": 1}] * 3


def test_an_endpoint_that_no_longer_wants_the_event_is_skipped(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    answers = [[], endpoints_on(endpoint, "acme")]
    subscribe(bus, lambda event: answers.pop())
    bus.emit("order.placed")
    assert memory.run_until_idle().skipped == 1
    assert endpoint.received == []


def test_the_deliveries_to_an_endpoint_are_ordered(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    failing = {("/bolt", 1), ("/acme", 3)}

    def answer(request: Any) -> int:
        key = request.target, json.loads(request.body)["data"]
        if key in failing:
            failing.discard(key)
            return 503
        return 200

    endpoint.answer = answer
    subscribe(bus, endpoints_on(endpoint, "acme", "bolt"), ordered=True)
    for number in range(5):
        bus.emit("order.placed", number, subject="order/1")
    memory.run_until_idle(shuffle=3)
    sent: dict[str, list[int]] = {"/acme": [], "/bolt": []}
    for request in endpoint.received:
        sent[request.target].append(json.loads(request.body)["data"])
    assert sent == {"/acme": [0, 1, 2, 3, 3, 4], "/bolt": [0, 1, 1, 2, 3, 4]}


def test_an_endpoint_that_fails_has_an_open_circuit_and_the_others_do_not(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    """While it is open, deliveries wait without an attempt; one of them is the trial."""
    endpoint.answer = lambda request: Answered(503 if request.target == "/bolt" else 200)
    breaker = Breaker(failures=3, window=60, recovery_timeout=30)
    subscribe(bus, endpoints_on(endpoint, "acme", "bolt"), breaker=breaker, backoff=100)
    for number in range(20):
        bus.emit("order.placed", number)
    memory.run_until_idle(jump=False)
    assert targets(endpoint).count("/acme") == 20
    assert targets(endpoint).count("/bolt") == 3
    circuits = memory.store.backend.circuits
    assert circuits.get(f"{POST}/bolt").state is CircuitState.OPEN
    assert circuits.get(f"{POST}/acme").state is CircuitState.CLOSED
    assert circuits.get(POST).state is CircuitState.CLOSED

    memory.advance(31)
    memory.run_until_idle(jump=False)
    assert targets(endpoint).count("/bolt") == 4, "one trial"
    endpoint.answer = lambda request: 200
    memory.run_until_idle()
    assert memory.dead == []
    assert targets(endpoint).count("/bolt") == 4 + 20
    assert circuits.get(f"{POST}/bolt").state is CircuitState.CLOSED
    # A delivery that waited for the circuit has its first attempt afterwards.
    first = [r.headers["celeriac-attempt"] for r in endpoint.received if r.target == "/bolt"]
    assert first.count("1") == 20


@pytest.mark.parametrize("ordered", [False, True])
def test_waiting_for_a_circuit_uses_up_no_attempt(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint, ordered: bool
) -> None:
    endpoint.answer = lambda request: 503
    breaker = Breaker(failures=1, window=60, recovery_timeout=30)
    subscribe(
        bus, endpoints_on(endpoint, "acme"), breaker=breaker, retries=1, backoff=0, ordered=ordered
    )
    for number in range(3):
        bus.emit("order.placed", number)
    for _ in range(2):
        memory.run_until_idle(jump=False)
        memory.advance(5)
    assert len(endpoint.received) == 1
    assert memory.dead == []
    endpoint.answer = lambda request: 200
    memory.run_until_idle()
    sent = [json.loads(request.body)["data"] for request in endpoint.received]
    assert (sent if ordered else sorted(sent)) == [0, 0, 1, 2]


def test_a_rejected_trial_lets_another_follow(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    """A 400 is no sign of the health of the endpoint."""
    answers = iter([503, 400, 200, 200])
    endpoint.answer = lambda request: next(answers)
    subscribe(bus, endpoints_on(endpoint, "acme"), breaker=Breaker(failures=1), ordered=True)
    for number in range(3):
        bus.emit("order.placed", number)
    memory.run_until_idle()
    assert [dead.error[:6] for dead in memory.dead] == ["Reject"]
    assert len(endpoint.received) == 4


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://2130706433:{port}/",
        "http://0x7f000001:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://127.1:{port}/",
        "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "https://10.0.0.1/",
    ],
)  # fmt: skip
def test_a_private_address_is_dead_at_once(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint, url: str
) -> None:
    subscribe(bus, [Endpoint(id="acme", url=url.format(port=endpoint.port))], allow_private=False)
    bus.emit("order.placed")
    memory.run_until_idle()
    [dead] = memory.dead
    assert dead.attempts == 1
    assert dead.error.startswith("Reject: endpoint acme: ")
    assert "is not a public address. If it is your own, pass allow_private=True" in dead.error
    assert endpoint.connections == 0


def test_a_redirect_to_a_private_address_is_not_followed(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: Answered(302, {"Location": f"{endpoint.url}/internal"})
    subscribe(bus, endpoints_on(endpoint, "acme"))
    bus.emit("order.placed")
    memory.run_until_idle()
    assert targets(endpoint) == ["/acme"]
    assert "redirects are not followed" in memory.dead[0].error


def test_an_endpoint_that_is_gone_is_reported(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: 410
    gone: list[str] = []
    subscribe(bus, endpoints_on(endpoint, "acme"), gone=lambda found: gone.append(found.id))
    bus.emit("order.placed")
    memory.run_until_idle()
    assert gone == ["acme"]
    assert memory.dead[0].error == "Gone: endpoint acme: HTTP 410"


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://x"}, {"url": "nonsense"}, {"secrets": "topsecret!"},
        {"url": "http://topsecret..com/"}, {"url": f"http://{'topsecret' * 9}.com/"},
        {"url": "http://xn--a/"}, {"secrets": 7}, {"secrets": b"topsecret"},
        {"headers": None}, {"headers": [("x", "topsecret")]},
        {"headers": {"host": "topsecret"}}, {"headers": {"x": "topsecret\n"}},
    ],
)  # fmt: skip
def test_a_wrong_endpoint_is_dead_and_delays_no_other(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint, options: dict[str, Any]
) -> None:
    wrong = Endpoint(**{"id": "acme", "url": endpoint.url, **options})
    subscribe(bus, [wrong, *endpoints_on(endpoint, "bolt")])
    bus.emit("order.placed")
    memory.run_until_idle()
    assert targets(endpoint) == ["/bolt"]
    [dead] = memory.dead
    assert (dead.attempts, "endpoint acme: " in dead.error) == (1, True)
    assert "topsecret" not in dead.error


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (["acme"], "ConfigurationError: endpoints= returned str: must be a list of Endpoint"),
        (None, "ConfigurationError: endpoints= returned NoneType: must be a list"),
        (7, "ConfigurationError: endpoints= returned int: must be a list"),
        (Endpoint(id="acme", url="http://x"), "ConfigurationError: endpoints= returned Endpoint"),
    ],
)
def test_a_wrong_list_of_endpoints_fails_the_fan_out(
    bus: EventBus, memory: MemoryBus, found: Any, message: str
) -> None:
    bus.webhooks("order.*", endpoints=lambda event: found)
    bus.emit("order.placed")
    memory.run_until_idle()
    [dead] = memory.dead
    assert (dead.handler, message in dead.error) == ("shop.webhooks", True)


def test_two_endpoints_with_one_id_fail_the_fan_out(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    """Otherwise one of them would get nothing, silently."""
    subscribe(bus, endpoints_on(endpoint, "acme", "acme"))
    bus.emit("order.placed")
    memory.run_until_idle()
    assert "two endpoints with id='acme'" in memory.dead[0].error


def test_sensitive_data_is_masked_in_the_event_of_a_delivery(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: Answered(422, body=b"4111-1111 is refused")
    subscribe(bus, endpoints_on(endpoint, "acme"))
    bus.emit("order.placed", {"card": "4111-1111", "n": 1}, sensitive=["card"])
    bus.emit("order.placed", {"pin": "4711"}, sensitive=["."])
    memory.run_until_idle()
    sent = [e for e in memory.store.event_log.emitted if e.event.domain == "webhooks"]
    shown = [masked(decode(emit.body)) for emit in sent]
    assert [one["data"] for one in shown] == [{"card": "***", "n": 1}, "***"]
    assert memory.dead[0].error == "Reject: endpoint acme: HTTP 422: *** is refused"
    assert b"4111-1111" in endpoint.received[0].body


def test_an_id_that_is_too_long_to_be_extended_is_derived(
    bus: EventBus, memory: MemoryBus, endpoint: HttpEndpoint
) -> None:
    subscribe(bus, endpoints_on(endpoint, "acme"))
    bus.emit("order.placed", id="x" * 255)
    memory.run_until_idle()
    assert json.loads(endpoint.received[0].body)["id"] == "x" * 255


@pytest.mark.parametrize("id", ["", "a b", "a/b", "é", "x" * 65, 7, None])
def test_the_id_of_an_endpoint_is_checked(id: Any) -> None:
    with pytest.raises(ConfigurationError, match="must have 1 to 64 letters"):
        Endpoint(id=id, url="https://acme.example")


def test_the_repr_of_an_endpoint_shows_no_secret() -> None:
    found = Endpoint(id="acme", url="https://a/t0ken", secrets="s3cret", headers={"a": "t0ken"})
    assert repr(found) == "Endpoint(id='acme')"


@pytest.mark.parametrize(
    ("patterns", "options", "message"),
    [
        (["#"], {}, "a pattern must begin with a domain"),
        (["*.placed"], {}, "a pattern must begin with a domain"),
        (["webhooks.x"], {}, "a pattern must begin with a domain"),
        (["order.*"], {"endpoints": []}, "must be a function"),
        (["order.*"], {"key": "subject"}, "the key is the endpoint"),
        (["order.*"], {"batch": 3}, "it cannot have batch="),
        (["order.*"], {"breaker": 3}, "must be a Breaker"),
        (["order.*"], {"timeout": -1}, "timeout=-1"),
    ],
)
def test_a_wrong_argument_is_refused_at_import(
    bus: EventBus, patterns: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SubscriptionError, match=message):
        bus.webhooks(*patterns, **{"endpoints": lambda event: [], **options})


def test_options_apply_to_the_handler_that_they_concern(bus: EventBus) -> None:
    subscribe(bus, [], retries=3, queue="hooks", when=lambda event: True, ordered=True)
    fan_out, post = bus.service.handlers["shop.webhooks"], bus.service.handlers[POST]
    assert (fan_out.queue, post.queue) == ("hooks", "hooks")
    assert (fan_out.failure.default.retries, post.failure.default.retries) == (5, 3)
    assert (fan_out.when is None, post.when is None) == (False, True)
    assert (fan_out.ordered, post.ordered) == (True, True)
    assert post.patterns == ("webhooks.#",)
