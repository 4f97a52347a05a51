"""Webhooks of Slack."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from celeriac.errors import InvalidEvent, UntrustedEvent
from celeriac.gateway import HookReply, Slack, Webhook
from tests.unit.gateway.hook.signing import NOW, mac, slack

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CALLBACK: dict[str, Any] = {
    "type": "event_callback",
    "event_id": "Ev1",
    "event_time": NOW,
    "team_id": "T1",
    "event": {"type": "app_mention", "channel": "C1", "text": "hello"},
}
LIMITED = {"type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": NOW}


def read(document: Any, **options: Any) -> Webhook | HookReply:
    body = json.dumps(document).encode()
    return Slack(SECRET, **options).read(slack(body, SECRET), body, NOW)


def test_the_example_of_slacks_documentation_is_verified() -> None:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&"
        b"channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&"
        b"command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
        b"398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    signature = "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert mac(SECRET, b"v0:1531420618:" + body) == signature
    headers = {"x-slack-signature": f"v0={signature}", "x-slack-request-timestamp": "1531420618"}
    with pytest.raises(InvalidEvent, match="JSON object"):  # a command, after its signature
        Slack(SECRET).read(headers, body, 1531420618)


def test_a_callback_becomes_an_event_with_the_id_of_slack() -> None:
    webhook = read(CALLBACK)
    assert isinstance(webhook, Webhook)
    assert (webhook.id, webhook.type, webhook.subject) == ("Ev1", "slack.app_mention", "C1")
    assert webhook.time == datetime.fromtimestamp(NOW, UTC)
    assert json.loads(webhook.data) == CALLBACK


def test_a_challenge_is_answered() -> None:
    reply = read({"type": "url_verification", "challenge": "3eZbrw", "token": "x"})
    assert isinstance(reply, HookReply)
    assert msgspec.json.decode(reply.body) == {"challenge": "3eZbrw"}


def test_a_rate_limit_is_an_event_of_its_minute() -> None:
    webhook = read(LIMITED)
    assert isinstance(webhook, Webhook)
    assert (webhook.id, webhook.type) == (f"app_rate_limited/T1/{NOW}", "slack.app_rate_limited")


@pytest.mark.parametrize("document", [CALLBACK, LIMITED])
def test_each_event_has_the_tenant_of_the_hook(document: dict[str, Any]) -> None:
    webhook = read(document, tenant="acme")
    assert isinstance(webhook, Webhook)
    assert webhook.tenant == "acme"


def test_a_minute_that_is_no_time_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="`minute_rate_limited` is not a time"):
        read({**LIMITED, "minute_rate_limited": 10**20})


@pytest.mark.parametrize(
    "wrong", [{"type": "block_actions"}, {"event_id": ""}, {"event": {}}, {"event_time": 10**20}]
)
def test_what_is_no_callback_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        read({**CALLBACK, **wrong})


def test_an_unsigned_challenge_is_refused() -> None:
    body = b'{"type":"url_verification","challenge":"x"}'
    for headers in ({}, slack(body, "other"), slack(body, SECRET, at=NOW - 301)):
        with pytest.raises(UntrustedEvent):
            Slack(SECRET).read(headers, body, NOW)
    Slack(SECRET, tolerance=600).read(slack(body, SECRET, at=NOW - 301), body, NOW)
