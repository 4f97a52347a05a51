"""Where the key of an event is found: the checks of `key=`."""

from __future__ import annotations

import dataclasses
import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec

from celeriac.errors import SubscriptionError
from celeriac.event.attributes import CORE

# Attributes of CloudEvents and celeriac that group events. The others differ from event to event,
# or say how the event is read.
_GROUPING = ("subject", "partitionkey", "source", "type", "correlationid")
_EXTENSION = re.compile(r"[a-z0-9]+")
_SEGMENT = re.compile(r"[\w$-]+")


def check_key(key: object, data_type: Any = Any) -> None:
    """Check the name of an attribute or a path into data; where the handler's data has a type with
    known fields, the path must lead to one. Raises SubscriptionError."""
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
        raise SubscriptionError("key='data' is no single value; name a field, as in 'data.tenant'")
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
            f"key={key!r} is no name of an attribute: lower-case letters and digits. For a field "
            f"of the data write 'data.{key}'"
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
    """Name in JSON → type, where the type says which fields there are."""
    if not isinstance(data_type, type):
        return None
    if issubclass(data_type, msgspec.Struct):
        return {one.encode_name: one.type for one in msgspec.structs.fields(data_type)}
    pydantic = getattr(data_type, "model_fields", None)
    if isinstance(pydantic, dict):
        return {
            name: field.annotation
            for own, field in pydantic.items()
            for name in {own, field.alias or own, field.serialization_alias or own}
        }
    if dataclasses.is_dataclass(data_type) or is_typeddict(data_type):
        try:
            return get_type_hints(data_type, include_extras=True)
        except NameError:
            return None
    return None


def _bare(annotation: Any) -> Any:
    """Without Annotated and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        some = [one for one in get_args(annotation) if one is not type(None)]
        return _bare(some[0]) if len(some) == 1 else None
    return annotation
