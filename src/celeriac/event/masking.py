"""Masking of sensitive data for display."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Set
from functools import lru_cache
from typing import Any

import msgspec

from celeriac.errors import InvalidEvent
from celeriac.event.attributes import is_json
from celeriac.event.codec import decode
from celeriac.event.encrypted import encrypted_for, is_encrypted
from celeriac.event.envelope import Event, RawEvent
from celeriac.event.extensions import NO_EXTENSIONS
from celeriac.event.sensitive_walk import State, TooCostly, Walk
from celeriac.unreadable import UNREADABLE

MASK = "***"
# With more values than this, the whole text is masked instead of searched.
MAX_VALUES = 2000
MIN_CHARACTERS = 4  # of a value that is masked in texts; shorter ones occur in any text


def masked(event: RawEvent, names: Set[str] = frozenset()) -> Any:
    """Return the data as JSON values, with `***` for each sensitive value.

    Sensitive are the paths in the event's `sensitive` attribute, and all members whose name is in
    `names` (the setting `sensitive`), ignoring case. Bytes and other data that is not JSON become
    their size, encrypted data becomes `encrypted for billing, shipping`.
    """
    if event.data is None:
        return None
    if is_encrypted(event):
        return encrypted_for(event)
    hides = bool(event.sensitive or names)
    parsed = _parsed(event, hides)
    if parsed is _OPAQUE:
        return f"({len(bytes(event.data))} bytes)"
    if not hides:
        return parsed
    try:
        return _masked(parsed, event.sensitive, names, lambda value: MASK)
    except TooCostly:
        return MASK
    except RecursionError:
        return f"({len(bytes(event.data))} bytes)"


def masked_envelope(raw: bytes, names: Set[str] = frozenset()) -> Any:
    """Return an encoded event as JSON values with masked data; a text for an invalid event."""
    try:
        event = decode(raw)
    except InvalidEvent:
        # Which parts are sensitive is unknown; this only detects whether there may be any.
        if names or b'"sensitive"' in raw:
            return f"({len(raw)} bytes)"
        return raw.decode(errors="replace")
    shown = _attributes(event)
    if event.data is not None:
        shown["data"] = masked(event, names)
    return shown


def sensitive_values(event: RawEvent, names: Set[str] = frozenset()) -> list[str]:
    """Return the sensitive values as texts, longest first, to mask them in error messages.

    Includes texts of at least 4 characters and numbers of at least 4 digits.
    """
    if event.data is None or not (event.sensitive or names):
        return []
    values: set[str] = set()

    def collect(value: Any) -> str:
        values.update(_texts(value))
        return MASK

    parsed = _parsed(event, True)
    if parsed is _OPAQUE:
        return []
    try:
        _masked(parsed, event.sensitive, names, collect)
    except (TooCostly, RecursionError):
        collect(parsed)  # mask too much rather than too little
    return sorted(values, key=lambda text: (-len(text), text))


def without(text: str, values: Collection[str]) -> str:
    """Return the text with `***` for each of the values; digits only as a whole number."""
    if len(values) > MAX_VALUES and text:
        return MASK
    for value in values:
        escaped = {value, repr(value)[1:-1], msgspec.json.encode(value)[1:-1].decode()}
        for form in escaped:
            if form not in text:
                continue
            if not form.strip("-").replace(".", "", 1).isdigit():
                text = text.replace(form, MASK)
            else:
                text = re.sub(rf"(?<!\d){re.escape(form)}(?!\d)", MASK, text)
    return text


_OPAQUE = object()


def _parsed(event: RawEvent, hides: bool) -> Any:
    """Return the data as JSON values; _OPAQUE if it is something else."""
    data = event.data
    if isinstance(data, (msgspec.Raw, bytes)):
        # Text of another format is a JSON string, which is shown, but has no members.
        if not is_json(event.datacontenttype) and (hides or isinstance(data, bytes)):
            return _OPAQUE
        try:
            return msgspec.json.decode(data)
        except UNREADABLE:
            return _OPAQUE
    return data


def _attributes(event: Event[Any]) -> dict[str, Any]:
    bare = msgspec.structs.replace(event, data=None, handlers=(), extensions=NO_EXTENSIONS)
    shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(bare))
    if event.handlers:
        shown["handlers"] = " ".join(event.handlers)
    return shown | dict(event.extensions)


@lru_cache(maxsize=64)
def _fold(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


def _folded(names: Set[str]) -> frozenset[str]:
    return _fold(frozenset(names))


def _masked(data: Any, attribute: str | None, names: Set[str], mask: Callable[[Any], str]) -> Any:
    """Return a copy of the data with each sensitive value replaced by the result of `mask`."""
    walk, folded = Walk(attribute), _folded(names)

    def copy(value: Any, state: State) -> Any:
        if walk.is_reached(state):
            return mask(value)
        if isinstance(value, dict):
            return {
                key: mask(item)
                if folded and key.casefold() in folded
                else copy(item, walk.member(state, key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            below = walk.item(state)
            return [copy(item, below) for item in value]
        return value

    return copy(data, walk.start)


def _texts(data: Any) -> Iterator[str]:
    pending = [data]  # a stack, because data may be nested deeper than Python's recursion limit
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if len(value) >= MIN_CHARACTERS:
                yield value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            if sum(map(str.isdigit, text := repr(value))) >= MIN_CHARACTERS:
                yield text
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
