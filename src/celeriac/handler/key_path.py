"""Checks of the option `key=`: an attribute of the event, or a path into its data."""

from __future__ import annotations

import dataclasses
import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from celeriac.errors import SubscriptionError
from celeriac.event.attributes import CORE

# Attributes of CloudEvents and celeriac that group events. The others differ from event to event,
# or describe its encoding.
_GROUPING = ("subject", "partitionkey", "tenant", "source", "type", "correlationid")
_EXTENSION = re.compile(r"[a-z0-9]+")
_SEGMENT = re.compile(r"[\w$-]+")


def check_key(key: object, data_type: Any = Any) -> None:
    """Raise SubscriptionError unless `key` is an attribute that groups events, or a path into data.

    If the handler's data type has known fields, the path must lead to a field of it.
    """
    if not isinstance(key, str) or not key:
        raise SubscriptionError(
            f"key={key!r}: name an attribute such as 'subject', or a path such as 'data.tenant'"
        )
    first, *path = key.split(".")
    if first == "data" and path:
        for segment in path:
            if not _SEGMENT.fullmatch(segment):
                raise SubscriptionError(
                    f"key={key!r} has the segment {segment!r}; write field names with dots "
                    "between them, such as 'data.tenant.id'"
                )
        _check_fields(key, path, data_type)
        return
    if key == "data":
        raise SubscriptionError(
            "key='data' is not a single value; name a field, as in 'data.tenant'"
        )
    if path:
        raise SubscriptionError(
            f"key={key!r} begins with {first!r}; a path leads into data, as in 'data.{key}'"
        )
    if key in _GROUPING:
        return
    if key in CORE:
        raise SubscriptionError(
            f"key={key!r} does not group events; use one of {', '.join(_GROUPING)}, an extension "
            "attribute, or a path such as 'data.tenant'"
        )
    if not _EXTENSION.fullmatch(key):
        raise SubscriptionError(
            f"key={key!r} is not the name of an attribute: use lower-case letters and digits. For "
            f"a field of the data, write 'data.{key}'"
        )


def _check_fields(key: str, path: list[str], data_type: Any) -> None:
    for segment in path:
        data_type = _bare(data_type)
        fields = _fields(data_type)
        if fields is None:
            return
        if segment not in fields:
            raise SubscriptionError(
                f"key={key!r}: {data_type.__name__} has no field {segment!r}, only "
                f"{', '.join(sorted(fields)) or 'none'}"
            )
        data_type = fields[segment]


def _fields(data_type: Any) -> dict[str, Any] | None:
    """Return name in JSON → type; None for a type without known fields."""
    if not isinstance(data_type, type):
        return None
    if issubclass(data_type, msgspec.Struct):
        return {field.encode_name: field.type for field in msgspec.structs.fields(data_type)}
    pydantic = getattr(data_type, "model_fields", None)
    if isinstance(pydantic, dict):
        return {
            name: field.annotation
            for attribute, field in pydantic.items()
            for name in {
                attribute,
                field.alias or attribute,
                field.serialization_alias or attribute,
            }
        }
    if dataclasses.is_dataclass(data_type) or is_typeddict(data_type):
        try:
            return get_type_hints(data_type, include_extras=True)
        except NameError:
            return None
    return None


def _bare(annotation: Any) -> Any:
    """Return the annotation without Annotated and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _bare(members[0]) if len(members) == 1 else None
    return annotation
