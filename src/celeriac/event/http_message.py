"""Events from HTTP messages: CloudEvents 1.0, HTTP protocol binding, in its three content modes."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from celeriac.errors import EventTooLarge, InvalidEvent
from celeriac.event.attributes import is_json
from celeriac.event.codec import decode
from celeriac.event.envelope import RawEvent
from celeriac.event.strict_decoder import without_lone_surrogates
from celeriac.unreadable import UNREADABLE

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_CLOUDEVENTS = "application/cloudevents"
_PREFIX = "ce-"
# RFC 7230, 3.2.6
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPED = re.compile(r"\\(.)")
_CHARSET = re.compile(r'charset\s*=\s*"?([^\s";]+)', re.IGNORECASE)

_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def read_message(
    headers: Mapping[str, str], body: bytes, *, max_events: int | None = None
) -> list[RawEvent]:
    """Return the event of a message, or the events of a batch in order.

    The content type decides the mode. Header names are case-insensitive. In binary mode, all
    extensions are strings. Raises InvalidEvent that names the attribute, and in a batch the number
    of the event; then no event is returned. Raises EventTooLarge, before it reads them, for a batch
    of more than `max_events`.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    content_type = lower.get("content-type", "")
    media = _media_type(content_type)
    if not media.startswith(_CLOUDEVENTS):
        return [_read_binary(lower, body)]
    if fault := content_type_fault(content_type):
        raise InvalidEvent(fault)
    if media == STRUCTURED:
        return [decode(body)]
    try:
        members = _batch_decoder.decode(without_lone_surrogates(body))
    except UNREADABLE:
        raise InvalidEvent("a batch must be a JSON array of events") from None
    if max_events is not None and len(members) > max_events:
        raise EventTooLarge(
            f"the batch has {len(members):,} events, at most {max_events:,} are allowed"
        )
    return [_numbered(number, member) for number, member in enumerate(members, 1)]


# A gateway gets few of them, many times each.
@lru_cache(maxsize=256)
def content_type_fault(content_type: str) -> str:
    """Return the fault of a CloudEvents content type that cannot be read; else empty.

    Any other content type is that of the data, in binary mode.
    """
    media, charset = _media_type(content_type), _CHARSET.search(content_type)
    if not media.startswith(_CLOUDEVENTS):
        return ""
    if media in (STRUCTURED, BATCH) and (charset is None or charset[1].lower() == "utf-8"):
        return ""
    return f"the content type must be {STRUCTURED} or {BATCH}, in UTF-8, or the type of the data"


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _numbered(number: int, member: msgspec.Raw) -> RawEvent:
    try:
        return decode(bytes(member))
    except InvalidEvent as error:
        raise InvalidEvent(f"event {number} of the batch: {error}") from None


def _read_binary(headers: Mapping[str, str], body: bytes) -> RawEvent:
    """Return the event of a message in binary mode."""
    members: dict[str, Any] = {
        name.removeprefix(_PREFIX): _text(name, value)
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    if reserved := members.keys() & {"data", "data_base64", "datacontenttype"}:
        raise InvalidEvent(
            f"`{min(reserved)}` is not an attribute in binary mode. Use the body and the "
            "Content-Type"
        )
    content_type = headers.get("content-type")
    if content_type:
        members["datacontenttype"] = content_type
    if body and is_json(content_type):
        body = without_lone_surrogates(body)
        try:
            msgspec.json.decode(body)
        except UNREADABLE:
            raise InvalidEvent("the body is not JSON, which its content type requires") from None
        members["data"] = msgspec.Raw(body)
    elif body:
        members["data_base64"] = base64.b64encode(body).decode()
    return decode(msgspec.json.encode(members))


def _text(name: str, value: str) -> str:
    """Return the value of a header: first unquoted, then percent-decoded."""
    value = value.strip()
    if _QUOTED.fullmatch(value):
        value = _ESCAPED.sub(r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise InvalidEvent(f"the header {name!r} is not UTF-8, percent-encoded") from None
