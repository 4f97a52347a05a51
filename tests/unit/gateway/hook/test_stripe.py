"""Webhooks of Stripe."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac.errors import InvalidEvent, UntrustedEvent
from celeriac.gateway import Stripe
from tests.unit.gateway.hook.signing import NOW, mac, stripe

SECRET = "whsec_test_secret"
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": NOW - 60,
    "data": {"object": {"id": "pi_7", "amount": 100}},
}
BODY = json.dumps(EVENT).encode()


def test_it_becomes_an_event_with_the_id_of_stripe() -> None:
    webhook = Stripe(SECRET).read(stripe(BODY, SECRET), BODY, NOW)
    assert webhook.id == "evt_1"
    assert webhook.type == "stripe.payment_intent.succeeded"
    assert webhook.data == BODY
    assert webhook.subject == "pi_7"
    assert webhook.time == datetime.fromtimestamp(NOW - 60, UTC)


def test_a_thin_event_is_read_too() -> None:
    thin = {
        "id": "evt_2",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "created": "2026-05-28T20:26:40.000Z",
        "related_object": {"id": "mtr_1"},
    }
    body = json.dumps(thin).encode()
    webhook = Stripe(SECRET, type="billing.{type}").read(stripe(body, SECRET), body, NOW)
    assert webhook.type == "billing.v1.billing.meter.error_report_triggered"
    assert webhook.subject == "mtr_1"
    assert webhook.time == datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)


def test_while_a_secret_is_rotated_either_signature_is_enough() -> None:
    for headers in (stripe(BODY, "whsec_new_secret"), stripe(BODY, "whsec_x", SECRET)):
        Stripe(["whsec_new_secret", SECRET]).read(headers, BODY, NOW)
    Stripe(lambda: SECRET).read(stripe(BODY, SECRET), BODY, NOW)


@pytest.mark.parametrize("off", [-300, 300])
def test_a_time_within_the_tolerance_is_accepted(off: int) -> None:
    Stripe(SECRET).read(stripe(BODY, SECRET, at=NOW + off), BODY, NOW)


@pytest.mark.parametrize("off", [-301, 301])
def test_a_time_beyond_the_tolerance_is_refused(off: int) -> None:
    with pytest.raises(UntrustedEvent, match="300 s off"):
        Stripe(SECRET).read(stripe(BODY, SECRET, at=NOW + off), BODY, NOW)


SIGNATURE = mac(SECRET, f"{NOW}.".encode() + BODY)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        f"t={NOW}",
        f"v1={SIGNATURE}",
        f"t={NOW},t={NOW},v1={SIGNATURE}",
        f"t=-{NOW},v1={SIGNATURE}",
        f"t=٧,v1={SIGNATURE}",
        f"t={'9' * 5000},v1={SIGNATURE}",
        f"t={NOW},v0={SIGNATURE}",
        f"t={NOW},v1={SIGNATURE[:-1]}",
        f"t={NOW},v1={SIGNATURE.upper()}",
        f"t={NOW},v1=\xff",
        f"t={NOW}," + ",".join(["v1=0"] * 20) + f",v1={SIGNATURE}",
    ],
)
def test_another_signature_is_refused(value: str) -> None:
    with pytest.raises(UntrustedEvent):
        Stripe(SECRET).read({"stripe-signature": value}, BODY, NOW)


def test_a_changed_body_or_another_secret_is_refused() -> None:
    for secret, body in ((SECRET, BODY + b" "), ("whsec_other_secret", BODY)):
        with pytest.raises(UntrustedEvent):
            Stripe(secret).read(stripe(BODY, SECRET), body, NOW)


LATE = b'{"id":"e","type":"x","created":99999999999999}'


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":7}', b'{"id":"evt_1"}', LATE])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidEvent) as raised:
        Stripe(SECRET).read(stripe(body, SECRET), body, NOW)
    assert not isinstance(raised.value, UntrustedEvent)
