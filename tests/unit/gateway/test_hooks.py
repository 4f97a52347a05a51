"""`POST /hooks/{name}`: a webhook is an event once, however often it is sent."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from celeriac import EventBus, UntrustedEvent
from celeriac.gateway import GitHub, Hook, Slack, Stripe, Webhook, gateway, refusal_log
from celeriac.testing.store import Store
from tests.logged import messages_of
from tests.unit.gateway.conftest import ask
from tests.unit.gateway.hook.signing import github, slack, stripe

SECRET = "whsec_test_secret"
CHARGE = {"id": "evt_1", "type": "charge.failed", "data": {"object": {"id": "c"}}}
BODY = json.dumps(CHARGE).encode()


def app_of(bus: EventBus) -> Any:
    hooks: dict[str, Hook] = {
        "stripe": Stripe(SECRET),
        "github": GitHub(SECRET),
        "slack": Slack(SECRET),
    }
    return gateway(bus, hooks=hooks)


def send(
    app: Any, body: bytes = BODY, at: int | None = None, secret: str = SECRET
) -> httpx.Response:
    headers = stripe(body, secret, at=int(time.time()) if at is None else at)
    return ask(app, "POST", "/hooks/stripe", content=body, headers=headers)


def stored(store: Store, domain: str = "stripe") -> list[dict[str, Any]]:
    return [json.loads(entry.body or b"") for entry in store.event_log.read(domain)]


def test_a_webhook_that_is_sent_three_times_is_one_event(bus: EventBus, store: Store) -> None:
    app, now = app_of(bus), int(time.time())
    answers = [send(app, at=now - late) for late in (20, 10, 0)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, '{"ids":["evt_1"]}')}
    (event,) = stored(store)
    assert (event["id"], event["source"]) == ("evt_1", "stripe")
    assert (event["type"], event["data"]) == ("stripe.charge.failed", CHARGE)


def test_a_text_that_was_cut_within_a_character_is_no_reason_to_refuse(
    bus: EventBus, store: Store
) -> None:
    """JavaScript writes the first half of an emoji as an escape, which is no character."""
    body = json.dumps({**CHARGE, "text": "cut \ud83d"}).encode()
    assert send(app_of(bus), body=body).status_code == 202
    (event,) = stored(store)
    assert event["data"]["text"] == "cut \ufffd"


def test_data_of_a_hook_that_is_not_bytes_is_a_fault_of_the_gateway(
    bus: EventBus, store: Store
) -> None:
    class Own:
        source = "/own"

        def read(self, headers: Mapping[str, str], body: bytes, now: float) -> Webhook:
            wrong: Any = {"n": 1}
            return Webhook(id="1", type="own.called", data=wrong)

    answer = ask(gateway(bus, hooks={"own": Own()}), "POST", "/hooks/own", content=b"7")
    assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")


def test_a_wrong_signature_is_refused(bus: EventBus, store: Store) -> None:
    app = app_of(bus)
    assert send(app, secret="whsec_other").status_code == 401
    assert send(app, at=int(time.time()) - 1000).status_code == 401
    assert ask(app, "POST", "/hooks/stripe", content=BODY).status_code == 401
    assert store.event_log.domains() == frozenset()


@pytest.mark.parametrize("path", ["/hooks/paypal", "/hooks/", "/hooks/stripe/x", "/hooks/Stripe"])
def test_an_unknown_webhook_is_not_found(bus: EventBus, store: Store, path: str) -> None:
    assert ask(app_of(bus), "POST", path, content=BODY).status_code == 404


def test_a_signed_body_that_is_no_event_is_refused(bus: EventBus, store: Store) -> None:
    answer = send(app_of(bus), body=b'{"id":"evt_1"}')
    assert (answer.status_code, answer.json()["field"]) == (400, "type")
    answer = send(app_of(bus), body=b'{"id":"evt_1","type":"a/b"}')
    assert (answer.status_code, answer.json()["field"]) == (400, "type")
    assert store.event_log.domains() == frozenset()


def test_a_webhook_is_checked_and_masked_as_declared(store: Store) -> None:
    bus = EventBus(service="billing", sensitive="email")
    bus.declare("stripe.charge.failed", dict[str, str | dict[str, Any]])
    app = app_of(bus)
    assert send(app).status_code == 202
    refused = send(app, body=b'{"id":"evt_2","type":"charge.failed","x":7}')
    assert (refused.status_code, refused.json()["field"]) == (400, "data[...]")
    (event,) = stored(store)
    assert event["sensitive"] == "**.email"


def test_a_challenge_of_slack_is_answered(bus: EventBus, store: Store) -> None:
    body = b'{"type":"url_verification","challenge":"3eZbrw"}'
    headers = slack(body, SECRET, at=int(time.time()))
    answer = ask(app_of(bus), "POST", "/hooks/slack", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw"})
    assert store.event_log.domains() == frozenset()


def test_a_redelivery_of_github_is_the_same_event(bus: EventBus, store: Store) -> None:
    app = app_of(bus)
    for _ in range(2):
        headers = github(b"{}", SECRET, "push", "d-1")
        assert ask(app, "POST", "/hooks/github", content=b"{}", headers=headers).is_success
    assert [event["id"] for event in stored(store, "github")] == ["d-1"]


class Counted:
    """A hook of the application's own."""

    source = "/own"

    def read(self, headers: Mapping[str, str], body: bytes, now: float) -> Webhook:
        if headers.get("x-key") != "right":
            raise UntrustedEvent("the key is wrong")
        return Webhook(id="1", type="own.called", data=body)


def test_a_hook_of_your_own_is_used_like_the_presets(bus: EventBus, store: Store) -> None:
    app = gateway(bus, hooks={"own": Counted()})
    assert ask(app, "POST", "/hooks/own", content=b"7").status_code == 401
    answer = ask(app, "POST", "/hooks/own", content=b"7", headers={"x-key": "right"})
    assert answer.status_code == 202
    assert stored(store, "own")[0]["data"] == 7


def test_data_that_is_not_json_is_refused(bus: EventBus, store: Store) -> None:
    app = gateway(bus, hooks={"own": Counted()})
    answer = ask(app, "POST", "/hooks/own", content=b"{", headers={"x-key": "right"})
    assert answer.status_code == 400
    assert store.event_log.domains() == frozenset()


def test_refused_webhooks_are_logged_rarely(
    bus: EventBus, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_of(bus)
    with caplog.at_level(logging.WARNING, logger="celeriac"):
        for _ in range(50):
            send(app, secret="whsec_other")
    assert messages_of(caplog, refusal_log) == [
        "celeriac: /hooks/stripe refused a request: 401 the signature does not match"
    ]
