"""Signatures, verified by the library of the Standard Webhooks specification."""

from __future__ import annotations

import base64
import time
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from celeriac import ConfigurationError
from celeriac.push import new_secret
from celeriac.push.signature import read_secrets, signature_headers

BODY = '{"type":"order.placed","name":"é"}'.encode()


def signed(*secrets: str, id: str = "msg/1", body: bytes = BODY) -> dict[str, str]:
    """The headers of a request that is sent now: the library refuses old ones."""
    now = int(time.time())
    return signature_headers(id, now, body, read_secrets(list(secrets), "endpoint acme"))


@pytest.mark.parametrize("id", ["msg/1", "a.b", "é ü", "x" * 255])
def test_the_library_accepts_a_signature(id: str) -> None:
    secret = new_secret()
    Webhook(secret).verify(BODY.decode(), signed(secret, id=id))


def test_the_library_makes_the_same_signature() -> None:
    secret = new_secret()
    headers = signed(secret)
    sent_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign("msg/1", sent_at, BODY.decode())
    assert headers["webhook-signature"] == expected


def test_while_a_secret_is_rotated_both_are_accepted() -> None:
    new, old = new_secret(), new_secret()
    headers = signed(new, old)
    for secret in (new, old):
        Webhook(secret).verify(BODY.decode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY.decode(), headers)


def test_a_changed_body_is_refused() -> None:
    secret = new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.decode() + " ", signed(secret))


def test_ids_with_dots_cannot_be_confused_with_the_parts_of_the_signed_text() -> None:
    assert signed(new_secret(), id="a.1")["webhook-id"] == "a%2E1"


def test_secrets_are_one_or_several_texts_or_come_from_a_function() -> None:
    secret, key = "whsec_" + base64.b64encode(b"k" * 24).decode(), b"k" * 24
    given: list[Any] = [secret, [secret], lambda: secret, lambda: [secret]]
    assert [read_secrets(one, "x") for one in given] == [[key]] * 4
    assert read_secrets(secret.removeprefix("whsec_"), "x") == [key]
    assert read_secrets(None, "x") == read_secrets((), "x") == read_secrets(lambda: (), "x") == []


@pytest.mark.parametrize("secret", ["whsec_geheim!", "whsec_", "", "whsec_gehei", "geheim é", 7])
def test_an_invalid_secret_is_refused_without_showing_it(secret: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_secrets([secret], "endpoint acme")
    shown = "".join(traceback.format_exception(raised.value))
    assert "endpoint acme: a secret is invalid" in shown
    assert "gehe" not in shown.split("Error: ")[-1]
