"""Webhooks of Slack's Events API:
https://docs.slack.dev/authentication/verifying-requests-from-slack"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from celeriac.errors import InvalidEvent
from celeriac.gateway.hook.hook import (
    HookReply,
    Webhook,
    check_hook,
    fill,
    read_object,
    read_time,
    required,
    text_of,
)
from celeriac.gateway.hook.signature import (
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
class Slack:
    """Webhooks of Slack's Events API. The event's id is Slack's `event_id`, its data the callback.

    The subject is the channel, if there is one. Slack's challenge is answered. Commands and
    interactions are refused, because they need an answer of your own.

    Attributes:
        secret: The signing secret of the app, one or several, or a callable that returns them.
        type: The type of the events. `{type}` is Slack's, such as `app_mention`.
        source: The source of the events.
        tolerance: Seconds by which the time of a signature may differ from now.
        tenant: The tenant of the events. Default: none.
    """

    secret: Secrets = field(repr=False)
    type: str = "slack.{type}"
    source: str = "slack"
    tolerance: float = TOLERANCE
    tenant: str | None = None

    def __post_init__(self) -> None:
        check_hook("Slack", self.source, self.type, self.tenant)
        check_secrets(self.secret, "Slack")
        check_tolerance(self.tolerance, "Slack")

    def read(self, headers: Mapping[str, str], body: bytes, now: float) -> Webhook | HookReply:
        """Return the webhook, or the answer to a challenge. See Hook."""
        given = header(headers, "x-slack-signature")
        timestamp = header(headers, "x-slack-request-timestamp")
        check_timestamp(timestamp, now, self.tolerance)
        signed = f"v0:{timestamp}:".encode() + body
        verify(keys_of(self.secret, "Slack"), signed, [given], lambda digest: f"v0={digest.hex()}")
        members = read_object(body)
        kind = required(members, "type")
        if kind == "url_verification":
            return HookReply(msgspec.json.encode({"challenge": required(members, "challenge")}))
        if kind == "app_rate_limited":
            minute, team = members.get("minute_rate_limited"), text_of(members, "team_id")
            id = f"{kind}/{team or ''}/{minute}"
            return Webhook(
                id=id,
                type=fill(self.type, kind),
                data=body,
                tenant=self.tenant,
                time=read_time(minute, "minute_rate_limited"),
            )
        if kind != "event_callback":
            raise InvalidEvent("`type` is not event_callback: only the Events API is supported")
        return Webhook(
            id=required(members, "event_id"),
            type=fill(self.type, required(members, "event", "type")),
            data=body,
            tenant=self.tenant,
            subject=text_of(members, "event", "channel"),
            time=read_time(members.get("event_time"), "event_time"),
        )
