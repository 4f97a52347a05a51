"""The JSON form of plain data, and the detection of values without one.

msgspec encodes other types than Python's `json`. This module aligns them: subclasses of str, int
and float are encoded as their value, keys as `json.dumps` writes them. NaN, infinities, sets and
bytes are refused, because a reader would get null, a list or a text instead. Fields of models may
be sets and bytes: their type decodes them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from celeriac.event.model import pydantic_fields

NULL = b"null"
LONE_SURROGATE = "contains a lone surrogate, which is not a character"

_CONTAINERS = (dict, list, tuple)
_UNWRITABLE = (set, frozenset, bytes, bytearray, memoryview)
_PLAIN: frozenset[type] = frozenset({str, int, bool, type(None)})
_PLAIN_WITH_FLOATS = _PLAIN | {float}


def foreign_form(value: object) -> object:
    """Return a JSON type for a value of a type that msgspec does not support. Raises TypeError."""
    # The plain value: attributes of a subclass, such as Django's SafeString, have no JSON form.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):  # that is a key: see with_text_keys
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    # By an attribute, so that pydantic is imported only by applications that use it.
    dump: Any = getattr(type(value), "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__qualname__} has no JSON form")
    # By alias, because the same model validates aliases.
    return dump(value, mode="json", by_alias=True)


def with_text_keys(data: Any) -> Any:
    """Return the data with keys as `json.dumps` writes them.

    Raises TypeError for a key without a text form, RecursionError for data that contains itself.
    """
    if isinstance(data, dict):
        return {_key(key): with_text_keys(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [with_text_keys(item) for item in data]
    return data


def fault_in(data: Any, written: bytes = NULL) -> str:
    """Return the path and kind of a value without a JSON form; empty if there is none.

    `written` is the JSON of msgspec, which encodes NaN as null.
    """
    may_be_nan = NULL in written
    if _is_suspect(data, _PLAIN if may_be_nan else _PLAIN_WITH_FLOATS, may_be_nan):
        return next(_faults(data, "data"), "")
    return ""


def _is_suspect(data: Any, plain: frozenset[type], may_be_nan: bool) -> bool:
    # On the path of every emit: no function call for a value of a plain type.
    kind = type(data)
    pending = [data if kind is dict or kind is list else (data,)]
    for container in pending:
        for value in container.values() if type(container) is dict else container:
            kind = type(value)
            if kind in plain:
                continue
            if kind is dict or kind is list:
                pending.append(value)
            elif isinstance(value, _CONTAINERS):
                pending.append(dict(value) if isinstance(value, dict) else value)
            elif kind is float:
                if value - value:  # not 0 where it is NaN or infinite
                    return True
            elif isinstance(value, _UNWRITABLE) or (may_be_nan and _may_hold_nan(value)):
                return True
    return False


def _faults(value: Any, path: str) -> Iterator[str]:
    """Yield all faults in order; in models only NaN, because their types allow other values."""
    pending: list[tuple[Any, str, bool]] = [(value, path, True)]
    seen: set[int] = set()
    while pending:
        value, path, is_plain = pending.pop()
        if fault := _fault_of(value, is_plain):
            yield f"{path} {fault}"
        members: list[tuple[Any, str, bool]] = []
        if isinstance(value, _CONTAINERS) or _fields(value):
            if id(value) in seen:
                continue
            seen.add(id(value))
        if isinstance(value, dict):
            for key, item in value.items():
                if isinstance(key, str) and not _is_unicode(key):
                    yield f"a key of {path} {LONE_SURROGATE}"
                members.append((item, f"{path}.{_shown(key)}", is_plain))
        elif isinstance(value, (list, tuple)):
            members = [(item, f"{path}[{n}]", is_plain) for n, item in enumerate(value)]
        else:
            names = _fields(value)
            members = [(getattr(value, name, None), f"{path}.{name}", False) for name in names]
        pending += reversed(members)


def no_form_of(data: Any) -> str:
    """Return the fault that made encoding fail; empty if none is detected."""
    try:
        return next(_faults(data, "data"), "")
    except Exception:  # properties of a model may raise anything
        return ""


def _fault_of(value: Any, is_plain: bool) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {float.__repr__(value)}, which JSON does not have"
    if is_plain and isinstance(value, _UNWRITABLE):
        remedy = (
            "a list"
            if isinstance(value, (set, frozenset))
            else "a text, or bytes as the whole data"
        )
        return f"is of the type {type(value).__qualname__}, which JSON does not have. Give {remedy}"
    if isinstance(value, str) and not _is_unicode(value):
        return LONE_SURROGATE
    return ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _may_hold_nan(value: Any) -> bool:
    return bool(_fields(value)) or (isinstance(value, float) and not math.isfinite(value))


def _fields(value: Any) -> tuple[str, ...]:
    """Return the names of the fields of a model; empty for other types."""
    kind: Any = type(value)
    for mark in ("__struct_fields__", "__dataclass_fields__"):
        if names := getattr(kind, mark, None):
            return tuple(names)
    if names := pydantic_fields(kind):
        return tuple(names)
    return tuple(field.name for field in getattr(kind, "__attrs_attrs__", ()))


def _shown(key: Any) -> str:
    text = str(key) if isinstance(key, (str, int, float, bool, type(None))) else "?"
    return text.encode(errors="backslashreplace").decode()[:60]


def _key(key: Any) -> Any:
    if type(key) is str:
        return key
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, (bool, int, float)):
        return next(iter(json.loads(json.dumps({key: 0}))))
    return key
