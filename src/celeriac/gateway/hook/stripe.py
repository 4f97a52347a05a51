"""Webhooks of Stripe: https://docs.stripe.com/webhooks#verify-manually"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from celeriac.errors import InvalidEvent
from celeriac.gateway.hook.hook import (
    Webhook,
    check_hook,
    fill,
    read_object,
    read_time,
    required,
    text_of,
)
from celeriac.gateway.hook.signature import (
    MAX_SIGNATURES,
    TOLERANCE,
    check_secrets,
    check_timestamp,
    check_tolerance,
    header,
    keys_of,
    verify,
)
from celeriac.gateway.token import Secrets


@dataclass(frozen=True, slots=True)
class Stripe:
    """Webhooks of Stripe. The event's id is that of Stripe's event, and its data all of it.

    The subject is the id of the object, such as `pi_…`. Thin events (API v2) work, too.

    Attributes:
        secret: `whsec_…`, one or several, or a callable that returns them.
        type: The type of the events. `{type}` is Stripe's, such as `payment_intent.succeeded`.
        source: The source of the events.
        tolerance: Seconds by which the time of a signature may differ from now.
        tenant: The tenant of the events. Default: none.
    """

    secret: Secrets = field(repr=False)
    type: str = "stripe.{type}"
    source: str = "stripe"
    tolerance: float = TOLERANCE
    tenant: str | None = None

    def __post_init__(self) -> None:
        check_hook("Stripe", self.source, self.type, self.tenant)
        check_secrets(self.secret, "Stripe")
        check_tolerance(self.tolerance, "Stripe")

    def read(self, headers: Mapping[str, str], body: bytes, now: float) -> Webhook:
        """Return the webhook. See Hook."""
        timestamp, signatures = _parts(header(headers, "stripe-signature"))
        check_timestamp(timestamp, now, self.tolerance)
        signed = timestamp.encode() + b"." + body
        verify(keys_of(self.secret, "Stripe"), signed, signatures, bytes.hex)
        event = read_object(body)
        subject = text_of(event, "data", "object", "id") or text_of(event, "related_object", "id")
        return Webhook(
            id=required(event, "id"),
            type=fill(self.type, required(event, "type")),
            data=body,
            tenant=self.tenant,
            subject=subject,
            time=_time(event.get("created")),
        )


def _parts(value: str) -> tuple[str, list[str]]:
    """Return the timestamp and the `v1` signatures of `t=1,v1=…,v1=…,v0=…`."""
    pairs = [part.strip().partition("=") for part in value.split(",")]
    times = [text for name, _, text in pairs if name == "t"]
    signatures = [text for name, _, text in pairs if name == "v1"]
    return (times[0] if len(times) == 1 else ""), signatures[:MAX_SIGNATURES]


def _time(created: Any) -> datetime | None:
    """Return the time of an event: seconds in API v1, RFC 3339 in API v2."""
    if not isinstance(created, str):
        return read_time(created, "created")
    try:
        return datetime.fromisoformat(created).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidEvent("`created` is not a time") from None
