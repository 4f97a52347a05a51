"""Standard Webhooks, signed by the library of the specification, and by `bus.webhooks`."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from celeriac.errors import InvalidEvent, UntrustedEvent
from celeriac.gateway import StandardWebhooks
from celeriac.push import new_secret
from celeriac.push.signature import read_secrets, signature_headers
from tests.unit.gateway.hook.signing import NOW, standard

SECRET = new_secret()
BODY = json.dumps(
    {"type": "invoice.paid", "timestamp": "2026-05-28T20:26:40.5Z", "data": {"é": 1}},
    ensure_ascii=False,
).encode()


def hook(secret: str | list[str] = SECRET, type: str = "partner.{type}") -> StandardWebhooks:
    return StandardWebhooks(secret, type=type, source="/partner")


def test_what_the_library_signs_becomes_an_event() -> None:
    webhook = hook().read(standard(BODY, SECRET, "msg_1"), BODY, NOW)
    assert (webhook.id, webhook.type, webhook.data) == ("msg_1", "partner.invoice.paid", BODY)
    assert webhook.time == datetime(2026, 5, 28, 20, 26, 40, 500_000, tzinfo=UTC)


def test_what_celeriac_signs_becomes_an_event() -> None:
    headers = signature_headers("a/1", NOW, BODY, read_secrets(SECRET, "x"))
    assert hook().read(headers, BODY, NOW).id == "a/1"


def test_a_fixed_type_needs_no_type_in_the_body() -> None:
    webhook = hook(type="partner.called").read(standard(b"{}", SECRET, "m"), b"{}", NOW)
    assert (webhook.type, webhook.time) == ("partner.called", None)


def test_while_a_secret_is_rotated_either_is_accepted() -> None:
    new = new_secret()
    for secret in (new, SECRET):
        hook([new, SECRET]).read(standard(BODY, secret, "m"), BODY, NOW)
    both = standard(BODY, new, "m")
    both["webhook-signature"] += " " + standard(BODY, SECRET, "m")["webhook-signature"]
    hook(SECRET).read(both, BODY, NOW)


def test_another_signature_is_refused() -> None:
    good = standard(BODY, SECRET, "m")
    asymmetric = good["webhook-signature"].replace("v1,", "v1a,")
    wrong = [
        {**good, "webhook-id": "other"},
        {**good, "webhook-timestamp": str(NOW + 1)},
        {**good, "webhook-signature": asymmetric},
        {**good, "webhook-signature": "v1,"},
        {**good, "webhook-signature": "v1,é"},
        {name: value for name, value in good.items() if name != "webhook-id"},
        standard(BODY, new_secret(), "m"),
        standard(BODY, SECRET, "m", at=NOW - 301),
        standard(BODY, SECRET, "m", at=NOW + 301),
    ]
    for headers in wrong:
        with pytest.raises(UntrustedEvent):
            hook().read(headers, BODY, NOW)
    with pytest.raises(UntrustedEvent):
        hook().read(good, BODY + b" ", NOW)


@pytest.mark.parametrize("body", [b"x", b"{}", b'{"type":"a","timestamp":"now"}'])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidEvent):
        hook().read(standard(body, SECRET, "m"), body, NOW)


def test_a_time_without_a_zone_is_left_out() -> None:
    body = b'{"type":"a","timestamp":"2026-05-28T20:26:40"}'
    assert hook().read(standard(body, SECRET, "m"), body, NOW).time is None


def test_secrets_are_keys_in_base64() -> None:
    key = base64.b64encode(b"k" * 24).decode()
    assert hook(key).read(standard(BODY, f"whsec_{key}", "m"), BODY, NOW).id == "m"
