"""Reads data as a declared type: msgspec for most types, pydantic where one of its models is named.

Messages never hold a value of the data: they end up in logs and dead letters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from celeriac.errors import SubscriptionError
from celeriac.event.annotation import annotation_name, mentions_pydantic

_ENUM_VALUE = re.compile(r"Invalid (enum )?value .*", re.DOTALL)
_PLACE = " - at `$"


class DataMismatch(Exception):
    """Data does not fit. The message is `data.path: reason`, with no value in it."""


class Reader(NamedTuple):
    """Both functions return the typed value or raise Misfit."""

    from_json: Callable[[bytes | msgspec.Raw], Any]
    from_python: Callable[[Any], Any]


def decoder_for(annotation: Any) -> Reader:
    """The reader of a type, made once. Raises SubscriptionError for a type that has none."""
    try:
        return _cached(Any if annotation is object else annotation)
    except TypeError:
        # Annotated can hold what has no hash
        return _make(annotation)


def _make(annotation: Any) -> Reader:
    try:
        if mentions_pydantic(annotation):
            return _pydantic_reader(annotation)
        if isinstance(msgspec.inspect.type_info(annotation), msgspec.inspect.CustomType):
            raise TypeError("it is neither a model nor a type of JSON")
        return _msgspec_reader(annotation)
    except (TypeError, NameError, RuntimeError) as error:
        raise SubscriptionError(
            f"data cannot be read as {annotation_name(annotation)}: {error}; declare a pydantic "
            "model, a msgspec Struct, a dataclass, a TypedDict or a plain type"
        ) from error


_cached = lru_cache(maxsize=1024)(_make)


def _msgspec_reader(annotation: Any) -> Reader:
    decoder = msgspec.json.Decoder(annotation, dec_hook=_nested_model)

    def from_json(raw: bytes | msgspec.Raw) -> Any:
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise DataMismatch(_msgspec_reason(error)) from None

    def from_python(value: Any) -> Any:
        try:
            return msgspec.convert(value, annotation, dec_hook=_nested_model)
        except (msgspec.ValidationError, RecursionError) as error:
            raise DataMismatch(_msgspec_reason(error)) from None

    return Reader(from_json, from_python)


def _nested_model(kind: type, value: Any) -> Any:
    """A pydantic model in a field of a Struct or dataclass."""
    validate: Any = getattr(kind, "model_validate", None)
    if validate is None:
        return value
    from pydantic import ValidationError

    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError(_pydantic_reason(error.errors(include_input=False), at="")) from None


def _msgspec_reason(error: Exception) -> str:
    if not isinstance(error, msgspec.ValidationError):
        return "data: is not valid JSON"
    reason, _, path = str(error).partition(_PLACE)
    # the one message of msgspec that quotes the value
    if _ENUM_VALUE.fullmatch(reason):
        reason = "is none of the allowed values"
    return f"data{path.rstrip('`')}: {reason}"


def _pydantic_reader(annotation: Any) -> Reader:
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def guarded(read: Callable[[Any], Any], value: Any) -> Any:
        try:
            return read(value)
        except ValidationError as error:
            raise DataMismatch(_pydantic_reason(error.errors(include_input=False))) from None

    return Reader(
        lambda raw: guarded(adapter.validate_json, bytes(raw)),
        lambda value: guarded(adapter.validate_python, value),
    )


def _pydantic_reason(errors: Iterable[Mapping[str, Any]], *, at: str = "data") -> str:
    reasons: list[str] = []
    for error in errors:
        path = at + "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in error["loc"])
        # the one message of pydantic that quotes the value
        tag = error["type"] == "union_tag_invalid"
        reasons.append(f"{path.lstrip('.')}: {'has an unknown tag' if tag else error['msg']}")
    return "; ".join(reasons[:5])
