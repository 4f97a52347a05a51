"""The strict decoder: accepts all valid events, and gives the reason for a refusal.

Other producers write spaces, nulls, extensions, `data_base64`, or times in other zones. It is about
ten times slower than the fast path in `codec.py`. Only this decoder refuses events.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from celeriac.errors import InvalidEvent
from celeriac.event.addressing import effective_recipients, split_handlers
from celeriac.event.attributes import CORE, OPTIONAL, REQUIRED
from celeriac.event.envelope import Event, RawEvent
from celeriac.event.extensions import NO_EXTENSIONS, Extensions
from celeriac.event.validation import validate
from celeriac.unreadable import UNREADABLE

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_LEAP_SECOND = re.compile(r"(:\d\d:)60")
# `\\ud83d` without its other half is valid JSON (RFC 8259, 8.2), but not valid text.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(raw: bytes) -> RawEvent:
    """Return the event in `raw`; JSON null counts as absent.

    Raises InvalidEvent that names the attribute.
    """
    members = _members(raw)
    _refuse_duplicates(raw, members)
    values = {name: _value(name, value) for name, value in members.items() if name != "data"}
    _check_version(values.get("specversion"))
    for name in REQUIRED:
        if values.get(name) is None:
            raise InvalidEvent(f"`{name}` is missing; every CloudEvent must have it")
    attributes: dict[str, Any] = {name: values.get(name) for name in (*REQUIRED, *OPTIONAL)}
    extensions = {name: value for name, value in values.items() if name not in CORE}
    event: RawEvent = Event(
        **attributes,
        time=_time(values.get("time")),
        data=_data(members.get("data"), values.get("data_base64")),
        handlers=effective_recipients(
            split_handlers(values.get("handlers")), values.get("redriven")
        ),
        extensions=_extensions(extensions),
    )
    validate(event)
    return event


def without_lone_surrogates(json_text: bytes) -> bytes:
    """Return the JSON with U+FFFD for each lone surrogate. JavaScript writes them for a text that
    was cut within a character."""
    if b"\\u" not in json_text:
        return json_text
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], json_text)


def _members(raw: bytes) -> Mapping[str, msgspec.Raw]:
    try:
        return _members_decoder.decode(raw)
    except msgspec.ValidationError:
        raise InvalidEvent("an event must be a JSON object in structured mode") from None
    except RecursionError:
        raise InvalidEvent("the event is nested too deeply to be read") from None
    except UNREADABLE:
        repaired = without_lone_surrogates(raw)
        if repaired != raw:
            _refuse_surrogates(raw)
            return _members(repaired)
        raise InvalidEvent("an event must be a JSON object; this is not valid JSON") from None


def _refuse_surrogates(raw: bytes) -> None:
    """Raise InvalidEvent for a lone surrogate in an attribute; data may have them."""
    for name, value in _pairs(raw):
        if name != "data" and isinstance(value, str) and _SURROGATE.search(value):
            raise InvalidEvent(f"`{name}` must not contain a lone surrogate")


def _refuse_duplicates(raw: bytes, members: Iterable[str]) -> None:
    # A fast check that most events pass. It also counts names within data, and only a \u escape
    # can spell a name differently.
    if b"\\u" not in raw and all(raw.count(b'"%b"' % name.encode()) < 2 for name in members):
        return
    names: set[str] = set()
    for name, _ in _pairs(raw):
        if name in names:
            raise InvalidEvent(f"`{name}` occurs twice; each attribute may occur once only")
        names.add(name)


def _pairs(raw: bytes) -> list[tuple[str, Any]]:
    text = raw.decode("utf-8", "replace")
    try:
        # Numbers stay text, because an int can be too long to convert.
        pairs: list[tuple[str, Any]] = json.loads(
            text, strict=False, object_pairs_hook=list, parse_int=str, parse_float=str
        )
    except (ValueError, RecursionError):
        raise InvalidEvent("an event must be a JSON object; this is not valid JSON") from None
    return pairs


def _value(name: str, raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except UNREADABLE:
        raise InvalidEvent(f"`{name}` is not valid JSON") from None


def _check_version(version: object) -> None:
    if version is None:
        raise InvalidEvent("`specversion` is missing; it must be '1.0'")
    if version != "1.0":
        raise InvalidEvent("`specversion` must be the string '1.0'; no other version is supported")


def _time(text: object) -> datetime | None:
    if text is None:
        return None
    try:
        if isinstance(text, str) and _RFC3339.fullmatch(text):
            # Python has no leap seconds; use the second before.
            text = _LEAP_SECOND.sub(r"\g<1>59", text)
            return msgspec.convert(text, datetime).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    raise InvalidEvent("`time` must be RFC 3339 with a zone, like '2026-01-31T12:00:00Z'")


def _data(data: msgspec.Raw | None, encoded: object) -> msgspec.Raw | bytes | None:
    if encoded is None:
        return data
    if data is not None:
        raise InvalidEvent(
            "`data` and `data_base64` are both present; an event may have one of them"
        )
    if not isinstance(encoded, str):
        raise InvalidEvent(f"`data_base64` must be a string, got {type(encoded).__name__}")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidEvent("`data_base64` is not valid base64 (RFC 4648)") from None


def _extensions(values: dict[str, Any]) -> Extensions:
    present = {name: value for name, value in values.items() if value is not None}
    return Extensions(present) if present else NO_EXTENSIONS
