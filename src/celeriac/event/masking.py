"""What people may see of an event: its data without what is sensitive."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from celeriac.errors import InvalidEvent
from celeriac.event.attributes import is_json
from celeriac.event.codec import decode
from celeriac.event.encrypted import encrypted_for, is_encrypted
from celeriac.event.envelope import Event, RawEvent
from celeriac.event.extensions import NO_EXTENSIONS
from celeriac.event.sensitive import ALL, ANY, DEEP

MASK = "***"
# An attribute with more paths than this was not written by a person: all of the data is masked.
MOST_PATHS = 1000
LEAST_CHARACTERS = 4  # of a value that is taken out of texts; shorter ones are in any text

# The steps that are left of each path.
_Left = frozenset[tuple[str, ...]]
_NOWHERE: _Left = frozenset()


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
        return _masked(found, _paths(event.sensitive), _folded(names), lambda value: MASK)
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

    try:
        parsed = _parsed(event, True)
        if parsed is _OPAQUE:
            return []
        _masked(parsed, _paths(event.sensitive), _folded(names), collect)
    except RecursionError:
        return []
    return sorted(found, key=lambda text: (-len(text), text))


def without(text: str, values: Collection[str]) -> str:
    """The text with `***` for each of the values; a number only where it stands by itself."""
    for value in values:
        escaped = {value, repr(value)[1:-1], msgspec.json.encode(value)[1:-1].decode()}
        for form in escaped:
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


@lru_cache(maxsize=1024)
def _paths(attribute: str | None) -> _Left:
    texts = attribute.split(",") if attribute else []
    if len(texts) > MOST_PATHS:
        return frozenset({()})
    return frozenset(() if text == ALL else tuple(text.split(".")) for text in texts)


@lru_cache(maxsize=64)
def _fold(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


def _folded(names: Collection[str]) -> frozenset[str]:
    return _fold(frozenset(names))


def _masked(value: Any, paths: _Left, names: frozenset[str], mask: Callable[[Any], str]) -> Any:
    if _is_reached(paths):
        return mask(value)
    if isinstance(value, dict):
        return {
            key: mask(item)
            if names and key.casefold() in names
            else _masked(item, _step(paths, key), names, mask)
            for key, item in value.items()
        }
    if isinstance(value, list):
        below = _step(paths, None)
        return [_masked(item, below, names, mask) for item in value]
    return value


def _is_reached(paths: _Left) -> bool:
    return any(path == () or set(path) == {DEEP} for path in paths)


def _step(paths: _Left, key: str | None) -> _Left:
    """What is left of the paths after a step to a member, or to an item of a list."""
    if not paths:
        return _NOWHERE
    left: set[tuple[str, ...]] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if not path:
            continue
        if path[0] == DEEP:
            left.add(path)
            waiting.append(path[1:])
        elif path[0] == ANY or (key is not None and unquote(path[0]) == key):
            left.add(path[1:])
    return frozenset(left)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) >= LEAST_CHARACTERS:
            yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if sum(map(str.isdigit, text := repr(value))) >= LEAST_CHARACTERS:
            yield text
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
