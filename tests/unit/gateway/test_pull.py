"""The routes of pull handlers: what each answers, and what a client may not do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis

from celeriac import ConfigurationError, EventBus
from celeriac.gateway import Limits, Token, gateway
from celeriac.gateway.pull import MAX_WAIT
from celeriac.pull.result import MAX_DELIVERIES
from celeriac.testing.store import Store
from tests.unit.gateway.conftest import App, ask, end

SEARCH, MAIL = "secret-of-the-search-service!", "secret-of-the-mail-service!!!"
INDEX = "/v1/handlers/search.index"

Call = Callable[..., httpx.Response]


@pytest.fixture
def app(bus: EventBus, store: Store) -> Iterator[App]:
    app = gateway(
        bus,
        tokens=[
            Token("search", SEARCH, handlers=["search.*"]),
            Token("mail", MAIL, handlers=["mail.send"]),
        ],
    )
    yield app
    end(app)


@pytest.fixture
def call(app: App) -> Call:
    def call(method: str, path: str, body: Any = None, *, secret: str = SEARCH) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        headers = {"authorization": f"Bearer {secret}"}
        return ask(app, method, path, content=content, headers=headers)

    return call


@pytest.fixture
def registered(call: Call) -> Call:
    assert call("PUT", INDEX, {"patterns": ["order.*"]}).status_code == 200
    return call


@pytest.fixture
def delivery(registered: Call, bus: EventBus) -> dict[str, Any]:
    bus.emit("order.placed", {"n": 1})
    [delivery] = registered("POST", f"{INDEX}/fetch").json()["deliveries"]
    return dict(delivery)


def code(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["detail"]
    return response.status_code, problem.get("code", "")


def test_a_registration_is_answered_with_what_applies(call: Call) -> None:
    body = {"patterns": ["order.*"], "retries": 2}
    response = call("PUT", INDEX, body)
    assert (response.status_code, response.json()) == (
        200, {"id": "search.index", "patterns": ["order.*"], "retries": 2, "lease": 30.0}
    )  # fmt: skip
    assert call("PUT", INDEX, body).json() == response.json()
    assert call("GET", INDEX).json() == response.json()


def test_a_delivery_is_a_cloudevent_with_entry_attempt_and_deadline(
    delivery: dict[str, Any],
) -> None:
    assert set(delivery) == {"entry", "attempt", "deadline", "event"}
    assert delivery["attempt"] == 1
    assert delivery["deadline"].endswith("Z")
    event = delivery["event"]
    assert (event["specversion"], event["type"], event["data"]) == ("1.0", "order.placed", {"n": 1})


def test_fetch_without_deliveries_answers_an_empty_list(registered: Call) -> None:
    response = registered("POST", f"{INDEX}/fetch", {"limit": 5})
    assert (response.status_code, response.json()) == (200, {"deliveries": []})
    assert response.headers["cache-control"] == "no-store"


def test_a_result_is_answered_with_the_state_of_the_delivery(
    registered: Call, delivery: dict[str, Any]
) -> None:
    given = {"entry": delivery["entry"], "attempt": 1, "outcome": "failed", "retry_after": 60}
    response = registered("POST", f"{INDEX}/complete", given)
    assert (response.status_code, response.json()) == (200, {"state": "scheduled", "retry_in": 60})


def test_a_renewal_is_answered_with_the_new_deadline(
    registered: Call, delivery: dict[str, Any]
) -> None:
    response = registered("POST", f"{INDEX}/renew", {"entry": delivery["entry"], "attempt": 1})
    assert response.status_code == 200
    assert response.json()["deadline"] >= delivery["deadline"]


def test_an_attempt_that_ended_is_a_conflict(registered: Call, delivery: dict[str, Any]) -> None:
    late = {"entry": delivery["entry"], "attempt": 7}
    assert code(registered("POST", f"{INDEX}/renew", late)) == (409, "lease_lost")
    late["outcome"] = "processed"
    assert code(registered("POST", f"{INDEX}/complete", late)) == (409, "lease_lost")


def test_a_removed_handler_is_gone_until_it_is_registered_again(registered: Call) -> None:
    assert registered("DELETE", INDEX).status_code == 204
    assert registered("DELETE", INDEX).status_code == 204
    assert code(registered("POST", f"{INDEX}/fetch")) == (410, "removed")
    assert code(registered("GET", INDEX)) == (410, "removed")
    assert registered("PUT", INDEX, {"patterns": ["order.*"]}).status_code == 200
    assert registered("POST", f"{INDEX}/fetch").status_code == 200


def test_an_unknown_handler_is_not_found(call: Call) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/fetch", {}),
        ("POST", "/complete", {"entry": "order/1-0", "attempt": 1, "outcome": "processed"}),
        ("POST", "/renew", {"entry": "order/1-0", "attempt": 1}),
    ):
        assert code(call(method, INDEX + path, body)) == (404, "unknown_handler")


def test_a_gateway_is_a_worker_of_the_service_until_it_ends(
    registered: Call, app: App, store: Store
) -> None:
    registered("POST", f"{INDEX}/fetch")
    deadline = time.monotonic() + 10
    while not store.registry.workers() and time.monotonic() < deadline:
        time.sleep(0.01)
    [worker] = store.registry.workers()
    assert (worker.service, worker.handlers) == ("search", ("search.index",))
    end(app)
    assert store.registry.workers() == []


# -- what a client may not do

ROUTES = [
    ("PUT", ""), ("GET", ""), ("DELETE", ""),
    ("POST", "/fetch"), ("POST", "/complete"), ("POST", "/renew"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_request_without_a_known_token_is_refused(app: App, method: str, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer unknown-secret-of-nobody"}):
        response = ask(app, method, INDEX + path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_token_acts_for_its_own_handlers_only(
    registered: Call, bus: EventBus, delivery: dict[str, Any], method: str, path: str
) -> None:
    body = {
        "": {"patterns": ["#"]},
        "/fetch": {"limit": 1},
        "/complete": {"entry": delivery["entry"], "attempt": 1, "outcome": "processed"},
        "/renew": {"entry": delivery["entry"], "attempt": 1},
    }[path]
    before = registered("GET", INDEX).json()
    bus.emit("order.placed")
    assert code(registered(method, INDEX + path, body, secret=MAIL)) == (403, "forbidden")
    assert registered("GET", INDEX).json() == before
    assert len(registered("POST", f"{INDEX}/fetch", {"limit": 9}).json()["deliveries"]) == 1
    assert registered(
        "POST", f"{INDEX}/complete",
        {"entry": delivery["entry"], "attempt": 1, "outcome": "processed"},
    ).status_code == 200  # fmt: skip


def test_a_token_of_one_handler_does_not_reach_others_of_the_service(call: Call) -> None:
    assert code(call("PUT", "/v1/handlers/mail.other", {"patterns": ["#"]}, secret=MAIL)) == (
        403, "forbidden"
    )  # fmt: skip
    assert call("PUT", "/v1/handlers/mail.send", {"patterns": ["#"]}, secret=MAIL).is_success


def test_a_delivery_of_another_handler_cannot_be_completed(
    registered: Call, store: Store, delivery: dict[str, Any]
) -> None:
    registered("PUT", "/v1/handlers/mail.send", {"patterns": ["order.*"]}, secret=MAIL)
    forged = {"entry": delivery["entry"], "attempt": 1, "outcome": "dead"}
    response = registered("POST", "/v1/handlers/mail.send/complete", forged, secret=MAIL)
    assert code(response) == (409, "lease_lost")
    assert store.deliveries.dead_count("order") == 0


@pytest.mark.parametrize(
    "entry",
    ["order", "order/1", "order/1-0}:x", "{x}:order/1-0", "../order/1-0", "order/$", "order/-", 5,
     None, ["order/1-0"], "order/1-0\r\nDEL x", "order/18446744073709551616-0"],
)  # fmt: skip
def test_a_forged_entry_is_refused_before_it_reaches_the_bus(
    registered: Call, store: Store, monkeypatch: pytest.MonkeyPatch, entry: Any
) -> None:
    def reached(*args: Any, **more: Any) -> Any:
        raise AssertionError("the delivery store was called")

    for method in ("pending", "complete", "renew"):
        monkeypatch.setattr(store.deliveries, method, reached)
    for path, more in (("complete", {"outcome": "processed"}), ("renew", {})):
        response = registered("POST", f"{INDEX}/{path}", {"entry": entry, "attempt": 1, **more})
        assert code(response) == (400, "invalid")
        assert response.json()["field"] == "entry"


@pytest.mark.parametrize(
    "id",
    ["search", "search.a.b", "search.%7Bx%7D", "search.a%0A", "search.*", "%2e%2e.x", "se:x.a"],
)
def test_a_forged_handler_id_is_refused(call: Call, store: Store, id: str) -> None:
    response = call("PUT", f"/v1/handlers/{id}", {"patterns": ["order.*"]})
    assert code(response) == (400, "invalid")
    assert store.registry.handlers() == {}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("fetch", {"limit": 0}, "limit"),
        ("fetch", {"limit": MAX_DELIVERIES + 1}, "limit"),
        ("fetch", {"limit": "1"}, "limit"),
        ("fetch", {"wait": -1}, "wait"),
        ("fetch", {"wait": MAX_WAIT + 1}, "wait"),
        ("fetch", {"wiat": 1}, ""),
        ("complete", {}, ""),
        ("complete", {"entry": "order/1-0", "attempt": 0, "outcome": "processed"}, "attempt"),
        ("complete", {"entry": "order/1-0", "attempt": 1.5, "outcome": "processed"}, "attempt"),
        ("complete", {"entry": "order/1-0", "attempt": 2**40, "outcome": "processed"}, "attempt"),
        ("complete", {"entry": "order/1-0", "attempt": 1, "outcome": "done"}, "outcome"),
        (
            "complete",
            {"entry": "order/1-0", "attempt": 1, "outcome": "processed", "error": "x"},
            "error",
        ),
        (
            "complete",
            {"entry": "order/1-0", "attempt": 1, "outcome": "dead", "retry_after": 1},
            "retry_after",
        ),
        (
            "complete",
            {"entry": "order/1-0", "attempt": 1, "outcome": "failed", "retry_after": -1},
            "retry_after",
        ),
        (
            "complete",
            {"entry": "order/1-0", "attempt": 1, "outcome": "failed", "error": {"type": "a b"}},
            "error",
        ),
        ("complete", {"entry": "order/1-0", "attempt": 1, "outcome": "processed", "took": -1},
         "took"),
        ("renew", {"entry": "order/1-0", "attempt": True}, "attempt"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused_with_its_member(
    registered: Call, path: str, body: Any, field: str
) -> None:
    response = registered("POST", f"{INDEX}/{path}", body)
    assert code(response) == (400, "invalid")
    assert response.json().get("field", "") == field


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", b"\xff", b'{"a":' * 10_000])
def test_a_body_that_is_no_json_object_is_refused(app: App, content: bytes) -> None:
    headers = {"authorization": f"Bearer {SEARCH}"}
    response = ask(app, "PUT", INDEX, content=content, headers=headers)
    assert code(response) == (400, "invalid")


@pytest.mark.parametrize(
    "error",
    [
        b'"\\ud800"',
        b'{"message":"\\ud800","stack":"\\udfff"}',
        b'{"message":"\\u0000","stack":"\\u0000"}',
    ],
)
def test_an_error_of_any_text_is_stored_or_refused(
    app: App, registered: Call, delivery: dict[str, Any], error: bytes
) -> None:
    headers = {"authorization": f"Bearer {SEARCH}"}
    head = json.dumps({"entry": delivery["entry"], "attempt": 1, "outcome": "dead"}).encode()
    content = head[:-1] + b',"error":' + error + b"}"
    response = ask(app, "POST", f"{INDEX}/complete", content=content, headers=headers)
    assert response.status_code in (200, 400)
    assert registered("POST", f"{INDEX}/fetch").status_code == 200


def test_a_large_body_is_refused(bus: EventBus, store: Store) -> None:
    app = gateway(
        bus, tokens=[Token("search", SEARCH, handlers=["search.*"])], limits=Limits(max_body=500)
    )
    headers = {"authorization": f"Bearer {SEARCH}"}
    response = ask(app, "PUT", INDEX, content=b" " * 501, headers=headers)
    assert response.status_code == 413


def test_requests_at_once_are_limited(bus: EventBus, store: Store) -> None:
    tokens = [Token("search", SEARCH, handlers=["search.*"])]
    app = gateway(bus, tokens=tokens, limits=Limits(max_requests=1))
    headers = {"authorization": f"Bearer {SEARCH}"}

    async def run() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await client.put(INDEX, json={"patterns": ["order.*"]}, headers=headers)
            first = asyncio.create_task(
                client.post(f"{INDEX}/fetch", json={"wait": 20}, headers=headers, timeout=30)
            )
            await asyncio.sleep(0.2)
            second = await client.post(f"{INDEX}/fetch", json={}, headers=headers)
            assert (second.status_code, second.headers["retry-after"]) == (503, "1")
            # Other routes are not held.
            assert (await client.get(INDEX, headers=headers)).status_code == 200
            await asyncio.to_thread(bus.emit, "order.placed")
            assert len((await first).json()["deliveries"]) == 1

    asyncio.run(run())
    end(app)


def test_while_redis_is_unreachable_a_request_can_be_repeated(
    registered: Call, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: Any, **more: Any) -> Any:
        raise redis.ConnectionError("refused by 10.0.0.7")

    monkeypatch.setattr(store.deliveries, "fetch", unreachable)
    response = registered("POST", f"{INDEX}/fetch")
    assert code(response) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"
    assert "10.0.0.7" not in response.text


@pytest.mark.parametrize(
    "handlers", ["search.*", ["search"], ["*"], ["*.index"], ["search.i*"], [7]]
)
def test_handlers_of_a_token_are_ids_or_services(handlers: Any) -> None:
    with pytest.raises(ConfigurationError, match="handlers"):
        Token("search", SEARCH, handlers=handlers)


def test_a_token_for_events_acts_for_no_handler(bus: EventBus, store: Store) -> None:
    app = gateway(bus, tokens=[Token("shop", SEARCH, types=["#"])])
    headers = {"authorization": f"Bearer {SEARCH}"}
    response = ask(app, "PUT", INDEX, content=b'{"patterns":["#"]}', headers=headers)
    assert code(response) == (403, "forbidden")


def test_a_message_that_was_cut_within_a_character_is_accepted(
    registered: Call, delivery: dict[str, Any]
) -> None:
    """JavaScript cuts texts by UTF-16 units; the attempt could not be reported otherwise."""
    body = {"entry": delivery["entry"], "attempt": 1, "outcome": "dead", "error": "cut \ud83d"}
    answer = registered("POST", f"{INDEX}/complete", body)
    assert (answer.status_code, answer.json()) == (200, {"state": "dead"}), answer.text
