"""Standard Webhooks, version 1, symmetric signatures:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from celeriac.errors import ConfigurationError, InvalidEvent
from celeriac.gateway.hook.hook import Webhook, check_hook, fill, read_object, required, text_of
from celeriac.gateway.hook.signature import (
    MAX_SIGNATURES,
    TOLERANCE,
    check_timestamp,
    check_tolerance,
    header,
    verify,
)
from celeriac.gateway.token import Secrets
from celeriac.push.signature import read_secrets

_VERSION = "v1,"


@dataclass(frozen=True, slots=True)
class StandardWebhooks:
    """Webhooks of any sender that follows Standard Webhooks. The event's id is `webhook-id`.

    Its data is the whole body. Its time is the `timestamp` in the body, if there is one.

    Attributes:
        secret: `whsec_…`, one or several, or a callable that returns them.
        type: The type of the events. `{type}` is the `type` in the body; without it, the type is
            fixed.
        source: The source of the events.
        tolerance: Seconds by which the time of a signature may differ from now.
        tenant: The tenant of the events. Default: none.
    """

    secret: Secrets = field(repr=False)
    type: str
    source: str
    tolerance: float = TOLERANCE
    tenant: str | None = None

    def __post_init__(self) -> None:
        owner = "StandardWebhooks"
        check_hook(owner, self.source, self.type, self.tenant)
        check_tolerance(self.tolerance, owner)
        if not callable(self.secret) and not read_secrets(self.secret, owner):
            raise ConfigurationError(f"{owner}: the secret is missing. Pass the sender's 'whsec_…'")

    def read(self, headers: Mapping[str, str], body: bytes, now: float) -> Webhook:
        """Return the webhook. See Hook."""
        id, timestamp = header(headers, "webhook-id"), header(headers, "webhook-timestamp")
        given = header(headers, "webhook-signature").split(" ")[:MAX_SIGNATURES]
        check_timestamp(timestamp, now, self.tolerance)
        signed = f"{id}.{timestamp}.".encode("latin-1") + body
        keys = read_secrets(self.secret, "StandardWebhooks")
        signatures = [text for text in given if text.startswith(_VERSION)]
        verify(keys, signed, signatures, lambda digest: _VERSION + b64encode(digest).decode())
        members = read_object(body)
        type = required(members, "type") if "{type}" in self.type else ""
        return Webhook(
            id=id,
            type=fill(self.type, type),
            data=body,
            tenant=self.tenant,
            time=_time(text_of(members, "timestamp")),
        )


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else None
    except (ValueError, OverflowError):
        raise InvalidEvent("`timestamp` is not a time of ISO 8601") from None
