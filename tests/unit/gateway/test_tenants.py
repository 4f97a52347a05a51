"""Tokens and webhooks that are limited to tenants."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from celeriac import ConfigurationError, EventBus
from celeriac.event.http_message import BATCH, STRUCTURED
from celeriac.gateway import GitHub, Slack, StandardWebhooks, Stripe, Token, Webhook, gateway
from celeriac.testing.store import Store
from tests.unit.gateway.conftest import App, ask, end
from tests.unit.gateway.hook.signing import stripe

SECRET, OTHER = "partner-secret-of-32-characters!", "another-secret-of-32-characters!"
EVENT = {"specversion": "1.0", "id": "p-1", "source": "/partner", "type": "parcel.sent"}
INDEX = "/v1/handlers/search.index"


def app_of(bus: EventBus, *tenants: str) -> App:
    token = Token(
        "partner", SECRET, ["parcel.*"], source="/partner", tenants=tenants, handlers=["search.*"]
    )
    return gateway(bus, tokens=[token, Token("all", OTHER, handlers=["search.*"])])


def send(app: App, content: Any, media: str = STRUCTURED) -> httpx.Response:
    headers = {"authorization": f"Bearer {SECRET}", "content-type": media}
    return ask(app, "POST", "/events", content=json.dumps(content), headers=headers)


def tenants(store: Store, domain: str = "parcel") -> list[str | None]:
    events = [json.loads(entry.body or b"") for entry in store.event_log.read(domain)]
    return [event.get("tenant") for event in events]


# -- events


def test_a_token_without_tenants_sends_any_and_none(bus: EventBus, store: Store) -> None:
    app = app_of(bus)
    assert send(app, {**EVENT, "tenant": "acme"}).status_code == 202
    assert send(app, {**EVENT, "id": "p-2"}).status_code == 202
    assert tenants(store) == ["acme", None]


def test_a_token_of_one_tenant_stamps_its_events(bus: EventBus, store: Store) -> None:
    app = app_of(bus, "acme")
    assert send(app, EVENT).status_code == 202
    assert send(app, {**EVENT, "id": "p-2", "tenant": "acme"}).status_code == 202
    assert tenants(store) == ["acme", "acme"]


def test_a_binary_event_names_its_tenant_in_a_header(bus: EventBus, store: Store) -> None:
    headers = {f"ce-{name}": value for name, value in {**EVENT, "tenant": "acme"}.items()}
    headers["authorization"] = f"Bearer {SECRET}"
    assert ask(app_of(bus, "acme"), "POST", "/events", headers=headers).status_code == 202
    assert tenants(store) == ["acme"]


def test_a_token_of_several_tenants_needs_one_in_each_event(bus: EventBus, store: Store) -> None:
    app = app_of(bus, "acme", "globex")
    assert send(app, {**EVENT, "tenant": "globex"}).status_code == 202
    answer = send(app, {**EVENT, "id": "p-2"})
    assert (answer.status_code, answer.json()["field"]) == (403, "tenant")
    assert "may not send events without a tenant" in answer.json()["detail"]
    assert tenants(store) == ["globex"]


@pytest.mark.parametrize("allowed", [("acme",), ("acme", "globex")])
def test_the_event_of_another_tenant_is_refused(
    bus: EventBus, store: Store, allowed: tuple[str, ...]
) -> None:
    answer = send(app_of(bus, *allowed), {**EVENT, "tenant": "initech"})
    assert (answer.status_code, answer.json()["field"]) == (403, "tenant")
    assert answer.json()["detail"] == (
        f"the token partner may not send tenant initech. It may send {', '.join(allowed)}"
    )
    assert store.event_log.domains() == frozenset()


def test_one_event_of_another_tenant_refuses_its_batch(bus: EventBus, store: Store) -> None:
    batch = [EVENT, {**EVENT, "id": "p-2", "tenant": "globex"}]
    answer = send(app_of(bus, "acme"), batch, BATCH)
    assert (answer.status_code, answer.json()["event"]) == (403, 2)
    assert store.event_log.domains() == frozenset()


def test_an_invalid_tenant_is_a_bad_request(bus: EventBus, store: Store) -> None:
    answer = send(app_of(bus), {**EVENT, "tenant": "a b"})
    assert (answer.status_code, answer.json()["field"]) == (400, "tenant")


def test_the_service_of_the_gateway_limits_it_as_well(store: Store) -> None:
    app = app_of(EventBus(service="billing", tenants="acme"))
    assert send(app, EVENT).status_code == 202
    answer = send(app, {**EVENT, "id": "p-2", "tenant": "globex"})
    assert (answer.status_code, answer.json()["field"]) == (400, "tenant")
    assert tenants(store) == ["acme"]


# -- webhooks


def test_a_webhook_has_the_tenant_of_its_hook(bus: EventBus, store: Store) -> None:
    body = json.dumps({"id": "evt_1", "type": "charge.failed"}).encode()
    app = gateway(bus, hooks={"acme": Stripe(SECRET, tenant="acme"), "any": Stripe(SECRET)})
    headers = stripe(body, SECRET, at=int(time.time()))
    assert ask(app, "POST", "/hooks/acme", content=body, headers=headers).status_code == 202
    body = body.replace(b"evt_1", b"evt_2")
    headers = stripe(body, SECRET, at=int(time.time()))
    assert ask(app, "POST", "/hooks/any", content=body, headers=headers).status_code == 202
    assert tenants(store, "stripe") == ["acme", None]


@pytest.mark.parametrize(
    "make",
    [
        lambda tenant: Stripe(SECRET, tenant=tenant),
        lambda tenant: GitHub(SECRET, tenant=tenant),
        lambda tenant: Slack(SECRET, tenant=tenant),
        lambda tenant: StandardWebhooks(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a.b", "s", tenant=tenant
        ),
    ],
)
def test_each_preset_takes_a_tenant_and_checks_it(make: Callable[[Any], Any]) -> None:
    assert make("acme").tenant == "acme"
    for wrong in ("", "a b", 7):
        with pytest.raises(ConfigurationError, match="`tenant`"):
            make(wrong)


def test_a_hook_of_your_own_decides_for_each_webhook(bus: EventBus, store: Store) -> None:
    class Own:
        source = "/own"

        def read(self, headers: Mapping[str, str], body: bytes, now: float) -> Webhook:
            return Webhook(id="1", type="own.called", data=body, tenant=headers["x-account"])

    app = gateway(bus, hooks={"own": Own()})
    send = ask(app, "POST", "/hooks/own", content=b"7", headers={"x-account": "globex"})
    assert send.status_code == 202
    assert tenants(store, "own") == ["globex"]
    send = ask(app, "POST", "/hooks/own", content=b"7", headers={"x-account": "glo bex"})
    assert (send.status_code, send.json()["field"]) == (400, "tenant")


# -- pull handlers


@pytest.fixture
def limited(bus: EventBus, store: Store) -> Iterator[App]:
    app = app_of(bus, "acme", "globex")
    yield app
    end(app)


def call(
    app: App, method: str, path: str = "", body: Any = None, secret: str = SECRET
) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"}
    content = None if body is None else json.dumps(body)
    return ask(app, method, INDEX + path, content=content, headers=headers)


def put(app: App, tenants: Sequence[str] | None, secret: str = SECRET) -> httpx.Response:
    return call(app, "PUT", "", {"patterns": ["order.*"], "tenants": tenants}, secret)


def test_a_handler_of_a_limited_token_gets_the_events_of_its_tenants(
    limited: App, bus: EventBus
) -> None:
    assert put(limited, None).json()["tenants"] == ["acme", "globex"]
    for tenant in ("acme", "initech", None, "globex"):
        bus.emit("order.placed", tenant=tenant)
    answer = call(limited, "POST", "/fetch", {"limit": 10})
    given = [delivery["event"]["tenant"] for delivery in answer.json()["deliveries"]]
    assert given == ["acme", "globex"]


def test_a_limited_token_registers_no_handler_for_other_tenants(limited: App) -> None:
    assert put(limited, ["acme"]).json()["tenants"] == ["acme"]
    for tenants in (["acme", "initech"], []):
        answer = put(limited, tenants)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert call(limited, "GET").json()["tenants"] == ["acme"]


def test_a_limited_token_does_not_act_for_the_handler_of_more_tenants(limited: App) -> None:
    assert put(limited, None, OTHER).status_code == 200
    body = {"entry": "order/1-0", "attempt": 1}
    for method, path, sent in (
        ("GET", "", None),
        ("POST", "/fetch", None),
        ("POST", "/complete", {**body, "outcome": "processed"}),
        ("POST", "/renew", body),
        ("DELETE", "", None),
    ):
        assert call(limited, method, path, sent).status_code == 403
        assert call(limited, method, path, sent, OTHER).status_code != 403


@pytest.mark.parametrize("others", [None, ["initech"], ["acme", "initech"]])
def test_a_limited_token_does_not_replace_the_handler_of_other_tenants(
    limited: App, bus: EventBus, others: list[str] | None
) -> None:
    """It would skip their events that wait, and keep their clients from the handler."""
    assert put(limited, others, OTHER).status_code == 200
    bus.emit("order.placed", tenant="initech")
    answer = put(limited, ["acme"])
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    [delivery] = call(limited, "POST", "/fetch", None, OTHER).json()["deliveries"]
    assert delivery["event"]["tenant"] == "initech"


def test_a_waiting_request_gets_nothing_of_tenants_that_are_registered_later(
    limited: App, bus: EventBus
) -> None:
    """An unlimited token registers the handler for every tenant while a limited one waits."""
    assert put(limited, ["acme"]).status_code == 200

    async def requests() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=limited)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:

            async def send(method: str, path: str, body: Any, secret: str) -> httpx.Response:
                headers = {"authorization": f"Bearer {secret}"}
                return await client.request(method, INDEX + path, json=body, headers=headers)

            waiting = asyncio.create_task(send("POST", "/fetch", {"wait": 10}, SECRET))
            await asyncio.sleep(0.2)  # without it, the first fetch would be refused
            await send("PUT", "", {"patterns": ["order.*"], "tenants": None}, OTHER)
            bus.emit("order.placed", tenant="initech")
            return [await waiting, await send("POST", "/fetch", {"wait": 10}, OTHER)]

    refused, given = asyncio.run(requests())
    assert (refused.status_code, refused.json().get("code")) == (403, "forbidden"), refused.text
    [delivery] = given.json()["deliveries"]
    assert delivery["event"]["tenant"] == "initech"


def test_an_unknown_handler_is_answered_as_for_any_token(limited: App) -> None:
    assert call(limited, "POST", "/fetch").status_code == 404
    assert call(limited, "DELETE").status_code == 204


def test_wrong_tenants_of_a_registration_are_refused(limited: App) -> None:
    for wrong in ("acme", [7], ["a b"], []):
        answer = call(limited, "PUT", "", {"patterns": ["order.*"], "tenants": wrong}, OTHER)
        assert answer.status_code == 400
