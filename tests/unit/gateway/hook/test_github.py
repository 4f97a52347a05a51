"""Webhooks of GitHub."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from celeriac.errors import InvalidEvent, UntrustedEvent
from celeriac.gateway import GitHub
from tests.unit.gateway.hook.signing import NOW, github

SECRET = "It's a Secret to Everybody"
BODY = json.dumps({"action": "opened", "repository": {"full_name": "octocat/hello"}}).encode()
ID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


def test_the_example_of_githubs_documentation_is_verified() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""
    signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    body = b"Hello, World!"
    headers = github(body, SECRET, "push", ID)
    assert headers["x-hub-signature-256"] == f"sha256={signature}"
    with pytest.raises(InvalidEvent, match="JSON object"):
        GitHub(SECRET).read(headers, body, NOW)


def test_it_becomes_an_event_with_the_id_of_the_delivery() -> None:
    webhook = GitHub(SECRET).read(github(BODY, SECRET, "issues", ID), BODY, NOW)
    assert (webhook.id, webhook.type) == (ID, "github.issues.opened")
    assert (webhook.subject, webhook.data) == ("octocat/hello", BODY)


def test_an_event_without_an_action_has_githubs_name() -> None:
    webhook = GitHub(SECRET, type="code.{type}").read(github(b"{}", SECRET, "push", ID), b"{}", NOW)
    assert (webhook.type, webhook.subject) == ("code.push", None)


def test_a_form_is_read_too() -> None:
    body = urlencode({"payload": BODY.decode()}).encode()
    headers = github(body, SECRET, "issues", ID) | {
        "content-type": "application/x-www-form-urlencoded"
    }
    assert GitHub(SECRET).read(headers, body, NOW).data == BODY


FORMS = [b"", b"other=1", b"payload=", b"payload=%7B%7D&payload=1", b"\xff"]


@pytest.mark.parametrize("body", FORMS)
def test_a_form_without_one_payload_is_refused(body: bytes) -> None:
    headers = github(body, SECRET, "issues", ID) | {
        "content-type": "application/x-www-form-urlencoded"
    }
    with pytest.raises(InvalidEvent):
        GitHub(SECRET).read(headers, body, NOW)


@pytest.mark.parametrize("value", ["", "sha256=", "sha1=00", "sha256=00", "\xff"])
def test_another_signature_is_refused(value: str) -> None:
    headers = github(BODY, SECRET, "issues", ID) | {"x-hub-signature-256": value}
    with pytest.raises(UntrustedEvent):
        GitHub(SECRET).read(headers, BODY, NOW)


def test_while_a_secret_is_rotated_either_is_accepted() -> None:
    secrets = ["the-new-secret-of-the-hook", "the-old-secret-of-the-hook"]
    for secret in secrets:
        GitHub(secrets).read(github(BODY, secret, "issues", ID), BODY, NOW)


@pytest.mark.parametrize("name", ["x-github-event", "x-github-delivery"])
def test_without_its_name_or_id_it_is_refused(name: str) -> None:
    headers = github(BODY, SECRET, "issues", ID) | {name: ""}
    with pytest.raises(InvalidEvent, match=name):
        GitHub(SECRET).read(headers, BODY, NOW)
