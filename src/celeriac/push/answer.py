"""What the answer of an endpoint means: processed, retried after a time, or dead. Pure."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from celeriac.errors import InvalidEvent, PushFailed, Reject
from celeriac.event import Event, sensitive_values, without
from celeriac.event.sensitive import ALL
from celeriac.visible import visible_line

MAX_BODY = 4096  # bytes of an answer that are read
MAX_REASON = 2000  # characters of it in the reason of a failure
MAX_RETRY_AFTER = 24 * 3600.0  # seconds
RETRIED = frozenset((408, 409, 425, 429))

_SECONDS = re.compile(r"\d{1,9}")


class Gone(Reject):
    """The endpoint does not exist any more (410), and is not to be used again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `body` has at most MAX_BODY bytes; `is_cut` if there were more."""

    status: int
    retry_after: str | None = None
    body: bytes = b""
    is_cut: bool = False


def check_answer(
    answer: Answer, where: str, event: Event[Any], names: Set[str], now: datetime
) -> None:
    """Return if the endpoint has processed the event.

    `where` begins the reason of a failure; `names` are names of sensitive fields. Raises PushFailed
    if the event must be sent again, and Reject if not; Gone for a 410.
    """
    if 200 <= answer.status < 300:
        return
    reason = f"{where}: HTTP {answer.status}"
    if 300 <= answer.status < 400:
        raise Reject(f"{reason}; redirects are not followed. Set the URL to the final address")
    if text := shown_body(answer, event, names):
        reason = f"{reason}: {text}"
    if answer.status in RETRIED or 500 <= answer.status < 600:
        raise PushFailed(reason, after=retry_after(answer.retry_after, now))
    raise (Gone if answer.status == 410 else Reject)(reason)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds in a Retry-After header, a number or a date; at most MAX_RETRY_AFTER.

    None for a missing or an invalid one.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    if not text or len(text) > 100:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    return min(max(0.0, (date - now).total_seconds()), MAX_RETRY_AFTER)


def shown_body(answer: Answer, event: Event[Any], names: Set[str]) -> str:
    """Return the body as text of one line, without control characters and sensitive values."""
    text = answer.body.decode(errors="replace")
    values = sensitive_values(event, names)
    text = without(text, values)
    if answer.is_cut or len(text) > MAX_REASON:
        # A value that the cut has shortened cannot be masked.
        text = text[: max(0, min(MAX_REASON, len(text) - _longest(event)))]
        text = f"{text}…" if text else "(a long body)"
    return visible_line(text).strip()


def _longest(event: Event[Any]) -> int:
    """Return the length of the longest value in the data, in its longest form.

    Of all values, since the data of an event that was encrypted is sensitive as a whole.
    """
    try:
        values = sensitive_values(msgspec.structs.replace(event, sensitive=ALL))
    except InvalidEvent:
        return MAX_BODY
    return max((len(msgspec.json.encode(value)) for value in values), default=0)
