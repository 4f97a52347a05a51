"""Refused requests: the status, and the reason as problem details (RFC 9457)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from celeriac.errors import (
    BusUnavailable,
    CeleriacError,
    EncryptionError,
    EventTooLarge,
    InvalidData,
    InvalidEvent,
    LogFull,
    UntrustedEvent,
)

PROBLEM = "application/problem+json"
FULL_RETRY_SECONDS = 5
UNAVAILABLE_RETRY_SECONDS = 1

# Status → the reason in the metrics.
REASONS = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "slow",
    409: "conflict",
    410: "not_found",
    413: "too_large",
    415: "invalid",
    429: "full",
    503: "unavailable",
}

_TITLES = {status.value: status.phrase for status in HTTPStatus}
_OF_BATCH = re.compile(r"event (\d+) of the batch: ")
_ATTRIBUTE = re.compile(r"`([a-z0-9_]+)`|attribute '([^']*)'|header '([^']*)'")
_OF_DATA = re.compile(r": (data[^\s:]*): ")


@dataclasses.dataclass(eq=False)
class Refusal(Exception):
    """A request that is refused.

    `field` is the attribute, the header or the path of the data that is wrong, and `event` the
    number of the event in its batch, from 1. `accepted` is the number of events of a batch that
    were accepted before. `code` is the reason for programs. `cause` is for the log only: it may
    name servers and settings. `reason` is for the metrics; by default, it follows the status.
    """

    status: int
    detail: str
    field: str = ""
    event: int = 0
    accepted: int = 0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cause: str = ""
    code: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        self.reason = self.reason or REASONS.get(self.status, "failed")

    def response(self) -> Response:
        """Return the response, without `cause`."""
        problem: dict[str, Any] = {
            "title": _TITLES.get(self.status, "Refused"),
            "status": self.status,
            "detail": self.detail,
        }
        optional = {
            "code": self.code,
            "field": self.field,
            "event": self.event,
            "accepted": self.accepted,
        }
        problem |= {name: value for name, value in optional.items() if value}
        return Response(
            msgspec.json.encode(problem), self.status, dict(self.headers), media_type=PROBLEM
        )


def refusal_of(error: CeleriacError, *, event: int = 0) -> Refusal:
    """Return the refusal for an error of the bus. `event` is the event's number in its batch."""
    if isinstance(error, InvalidEvent):
        return _of_invalid(error, event)
    accepted: int = getattr(error, "emitted", 0)
    if isinstance(error, LogFull):
        return Refusal(
            429,
            "there is no room for the event; nothing was written. Send it again later",
            accepted=accepted,
            headers=retry_after(FULL_RETRY_SECONDS),
            cause=str(error),
        )
    if isinstance(error, BusUnavailable):
        state = "was not accepted" if error.nothing_written else "may have been accepted"
        return Refusal(
            503,
            f"the event {state}. Send it again with the same id",
            accepted=accepted,
            headers=retry_after(UNAVAILABLE_RETRY_SECONDS),
            cause=str(error),
        )
    return Refusal(500, "the event was not accepted", cause=str(error))


def retry_after(seconds: int) -> Mapping[str, str]:
    """Return the header of a refusal that may be repeated."""
    return {"retry-after": str(seconds)}


def _of_invalid(error: InvalidEvent, event: int) -> Refusal:
    if isinstance(error, EncryptionError):
        # The keys of this service are missing or wrong: the sender cannot change that.
        return Refusal(500, "the event cannot be encrypted", cause=str(error))
    message = str(error)
    if numbered := _OF_BATCH.match(message):
        event, message = int(numbered[1]), message[numbered.end() :]
    if isinstance(error, UntrustedEvent):
        return Refusal(401, message)
    status = 413 if isinstance(error, EventTooLarge) else 400
    return Refusal(
        status, message, field=_field(error, message), event=event, accepted=error.emitted
    )


def _field(error: InvalidEvent, message: str) -> str:
    if isinstance(error, InvalidData):
        path = _OF_DATA.search(message)
        return path[1] if path else "data"
    name = _ATTRIBUTE.search(message)
    return next(filter(None, name.groups()), "") if name else ""
