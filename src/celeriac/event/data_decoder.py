"""Decoding of data as a declared type: by msgspec, or by pydantic if the type contains its models.

Messages never contain values of the data, because they appear in logs and dead letters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from celeriac.errors import SubscriptionError
from celeriac.event.annotation import annotation_name, mentions_pydantic
from celeriac.unreadable import UNREADABLE

_ENUM_VALUE = re.compile(r"Invalid (enum )?value .*", re.DOTALL)
_AT_PATH = " - at `$"


class DataMismatch(Exception):
    """Data does not match its type. The message is `data.path: reason`, without values."""


class DataDecoder(NamedTuple):
    """Both functions return the typed value or raise DataMismatch."""

    from_json: Callable[[bytes | msgspec.Raw], Any]
    from_python: Callable[[Any], Any]


def decoder_for(annotation: Any) -> DataDecoder:
    """Return the cached decoder of a type. Raises SubscriptionError for an unsupported type."""
    try:
        return _cached(Any if annotation is object else annotation)
    except TypeError:
        # Annotated may contain unhashable metadata.
        return _make(annotation)


def _make(annotation: Any) -> DataDecoder:
    try:
        if mentions_pydantic(annotation):
            return _pydantic_decoder(annotation)
        if isinstance(msgspec.inspect.type_info(annotation), msgspec.inspect.CustomType):
            raise TypeError("it is neither a model nor a JSON type")
        return _msgspec_decoder(annotation)
    except (TypeError, NameError, RuntimeError) as error:
        raise SubscriptionError(
            f"data cannot be read as {annotation_name(annotation)}: {error}. Declare a pydantic "
            "model, a msgspec Struct, a dataclass, a TypedDict or a plain type"
        ) from error


_cached = lru_cache(maxsize=1024)(_make)


def _msgspec_decoder(annotation: Any) -> DataDecoder:
    decoder = msgspec.json.Decoder(annotation, dec_hook=_nested_model)

    def from_json(raw: bytes | msgspec.Raw) -> Any:
        try:
            return decoder.decode(raw)
        except UNREADABLE as error:
            raise DataMismatch(_msgspec_reason(error)) from None

    def from_python(value: Any) -> Any:
        try:
            return msgspec.convert(value, annotation, dec_hook=_nested_model)
        except (msgspec.ValidationError, RecursionError) as error:
            raise DataMismatch(_msgspec_reason(error)) from None

    return DataDecoder(from_json, from_python)


def _nested_model(kind: type, value: Any) -> Any:
    """Decode a pydantic model in a field of a Struct or dataclass."""
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
    reason, _, path = str(error).partition(_AT_PATH)
    # The only message of msgspec that quotes the value.
    if _ENUM_VALUE.fullmatch(reason):
        reason = "is not one of the allowed values"
    return f"data{path.rstrip('`')}: {reason}"


def _pydantic_decoder(annotation: Any) -> DataDecoder:
    from pydantic import TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def guarded(read: Callable[[Any], Any], value: Any) -> Any:
        try:
            return read(value)
        except ValidationError as error:
            raise DataMismatch(_pydantic_reason(error.errors(include_input=False))) from None

    return DataDecoder(
        lambda raw: guarded(adapter.validate_json, bytes(raw)),
        lambda value: guarded(adapter.validate_python, value),
    )


def _pydantic_reason(errors: Iterable[Mapping[str, Any]], *, at: str = "data") -> str:
    reasons: list[str] = []
    for error in errors:
        path = at + "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in error["loc"])
        # The only message of pydantic that quotes the value.
        tag = error["type"] == "union_tag_invalid"
        reasons.append(f"{path.lstrip('.')}: {'has an unknown tag' if tag else error['msg']}")
    return "; ".join(reasons[:5])
