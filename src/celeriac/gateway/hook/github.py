"""Webhooks of GitHub:
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from celeriac.errors import InvalidEvent
from celeriac.gateway.hook.hook import Webhook, check_hook, fill, read_object, text_of
from celeriac.gateway.hook.signature import check_secrets, header, keys_of, verify
from celeriac.gateway.token import Secrets

_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class GitHub:
    """Webhooks of GitHub. The event's id is the delivery's, and its data the payload.

    The subject is the full name of the repository. GitHub signs neither a time nor the headers with
    the id and the type.

    Attributes:
        secret: The webhook's secret, one or several, or a callable that returns them.
        type: The type of the events. `{type}` is GitHub's with its action, such as `issues.opened`.
        source: The source of the events.
        tenant: The tenant of the events. Default: none.
    """

    secret: Secrets = field(repr=False)
    type: str = "github.{type}"
    source: str = "github"
    tenant: str | None = None

    def __post_init__(self) -> None:
        check_hook("GitHub", self.source, self.type, self.tenant)
        check_secrets(self.secret, "GitHub")

    def read(self, headers: Mapping[str, str], body: bytes, now: float) -> Webhook:
        """Return the webhook. See Hook."""
        given = header(headers, "x-hub-signature-256")
        verify(
            keys_of(self.secret, "GitHub"), body, [given], lambda digest: f"sha256={digest.hex()}"
        )
        data = _payload(headers, body)
        members = read_object(data)
        name, action = _named(headers, "x-github-event"), text_of(members, "action")
        return Webhook(
            id=_named(headers, "x-github-delivery"),
            type=fill(self.type, f"{name}.{action}" if action else name),
            data=data,
            tenant=self.tenant,
            subject=text_of(members, "repository", "full_name"),
        )


def _payload(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the JSON of a webhook of either content type."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return body
    try:
        (payload,) = parse_qs(body.decode(), max_num_fields=1)["payload"]
    except (UnicodeError, ValueError, KeyError):
        raise InvalidEvent("the form has no `payload`") from None
    return payload.encode()


def _named(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise InvalidEvent(f"the header {name!r} is missing")
    return value
