"""What people may see of an event: its data without what is sensitive."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
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

MASK = "***"
# More values than this are not searched for in a text: the whole text is masked.
MOST_VALUES = 2000
LEAST_CHARACTERS = 4  # of a value that is taken out of texts; shorter ones are in any text


def masked(event: RawEvent, names: Collection[str] = ()) -> Any:
    """The data as JSON values, with `***` for what is sensitive.

    Sensitive is what the event's `sensitive` attribute names, and each member called one of
    `names` (the setting `sensitive`), in upper or lower case, wherever it is. Bytes that are not
    JSON, and what cannot be looked into, are shown as a size; what is encrypted as `encrypted for
    billing, shipping`.
    """
    if event.data is None:
        return None
    if is_encrypted(event):
        return encrypted_for(event)
    hides = bool(event.sensitive or names)
    found = _parsed(event, hides)
    if found is _OPAQUE:
        return f"({len(bytes(event.data))} bytes)"
    if not hides:
        return found
    try:
        return _masked(found, event.sensitive, names, lambda value: MASK)
    except TooCostly:
        return MASK
    except RecursionError:
        return f"({len(bytes(event.data))} bytes)"


def masked_envelope(raw: bytes, names: Collection[str] = ()) -> Any:
    """An event off the wire as one JSON object, its data masked; a text for what is no event."""
    try:
        event = decode(raw)
    except InvalidEvent:
        # Nothing tells what in it is sensitive, but whether anything may be.
        if names or b'"sensitive"' in raw:
            return f"({len(raw)} bytes)"
        return raw.decode(errors="replace")
    shown = _attributes(event)
    if event.data is not None:
        shown["data"] = masked(event, names)
    return shown


def sensitive_values(event: RawEvent, names: Collection[str] = ()) -> list[str]:
    """The sensitive values as texts, the longest first: what must not stand in an error.

    Texts of at least 4 characters and numbers of at least 4 digits. Empty where nothing in the
    data is sensitive.
    """
    if event.data is None or not (event.sensitive or names):
        return []
    found: set[str] = set()

    def collect(value: Any) -> str:
        found.update(_texts(value))
        return MASK

    parsed = _parsed(event, True)
    if parsed is _OPAQUE:
        return []
    try:
        _masked(parsed, event.sensitive, names, collect)
    except (TooCostly, RecursionError):
        collect(parsed)  # rather too much than too little
    return sorted(found, key=lambda text: (-len(text), text))


def without(text: str, values: Collection[str]) -> str:
    """The text with `***` for each of the values; a number only where it stands by itself."""
    if len(values) > MOST_VALUES and text:
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
    """The data as JSON values; _OPAQUE where it is something else."""
    data = event.data
    if isinstance(data, (msgspec.Raw, bytes)):
        # a text of another format is a JSON string: to be shown, but not to be looked into
        if not is_json(event.datacontenttype) and (hides or isinstance(data, bytes)):
            return _OPAQUE
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
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


def _folded(names: Collection[str]) -> frozenset[str]:
    return _fold(frozenset(names))


def _masked(
    data: Any, attribute: str | None, names: Collection[str], mask: Callable[[Any], str]
) -> Any:
    """A copy of the data with what `mask` returns in place of each sensitive value."""
    walk, folded = Walk(attribute), _folded(names)

    def copy(value: Any, at: State) -> Any:
        if walk.is_reached(at):
            return mask(value)
        if isinstance(value, dict):
            return {
                key: mask(item)
                if folded and key.casefold() in folded
                else copy(item, walk.member(at, key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            below = walk.item(at)
            return [copy(item, below) for item in value]
        return value

    return copy(data, walk.start)


def _texts(data: Any) -> Iterator[str]:
    left = [data]  # a stack of its own: data may be nested deeper than Python calls
    while left:
        value = left.pop()
        if isinstance(value, str):
            if len(value) >= LEAST_CHARACTERS:
                yield value
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            if sum(map(str.isdigit, text := repr(value))) >= LEAST_CHARACTERS:
                yield text
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
