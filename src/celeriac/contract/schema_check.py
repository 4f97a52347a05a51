"""Check JSON data against a schema. The reason never has a value of the data."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from celeriac.contract.normal_form import Schema
from celeriac.errors import ConfigurationError
from celeriac.extra import needing

if TYPE_CHECKING:
    from jsonschema import ValidationError

# As msgspec and pydantic read them: the schema's `format` is only an annotation.
_FORMATS: dict[str, type] = {
    "date-time": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "duration": datetime.timedelta,
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
}
_TYPES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def schema_validator(schema: Schema, what: str, extra: str = "contracts") -> Any:
    """Return a validator of the schema that checks formats as readers do.

    Raises ConfigurationError, which names `what` and the extra, if jsonschema is not installed.
    """
    with needing(extra, what):
        from jsonschema import Draft202012Validator, FormatChecker
        from referencing import Registry

    formats = FormatChecker(formats=())
    for name, kind in _FORMATS.items():
        formats.checks(name, raises=msgspec.ValidationError)(_converts_to(kind))
    # An empty registry: a reference in a schema must not make this process fetch a URL.
    registry: Any = Registry()
    return Draft202012Validator(schema, format_checker=formats, registry=registry)


def mismatch_of(
    data: Any, schema: Schema, what: str, *, extra: str = "contracts", had: Any = None
) -> str:
    """Return why the data does not match the schema, as `data.PATH: REASON`; empty if it does.

    Unknown fields that the data `had` before an edit are accepted.

    Raises ConfigurationError like `schema_validator`, and for an invalid schema.
    """
    validator = schema_validator(schema, what, extra)
    from jsonschema.exceptions import best_match

    try:
        error = best_match(e for e in validator.iter_errors(data) if not _was_there(e, had))
    except Exception as error:  # jsonschema raises errors of several packages
        raise ConfigurationError(
            f"{what}: a registered schema is invalid ({type(error).__name__}). Start a worker of "
            "its service with a valid one."
        ) from error
    return "" if error is None else f"{data_path(error)}: {_reason(error)}"


def _was_there(error: Any, had: Any) -> bool:
    """Return whether the error is about unknown fields that the data had before."""
    if error.validator != "additionalProperties":
        return False
    for step in error.absolute_path:
        try:
            had = had[step]
        except (LookupError, TypeError):
            return False
    unknown = set(error.instance) - set(error.schema.get("properties", ()))
    return isinstance(had, dict) and unknown <= had.keys()


def data_path(error: ValidationError) -> str:
    """Return the path of the value that does not match: `data.items[0].cents`."""
    parts = (f"[{x}]" if isinstance(x, int) else f".{x}" for x in error.absolute_path)
    return f"data{''.join(parts)}"


def _reason(error: Any) -> str:
    keyword, rule, value = str(error.validator), error.validator_value, error.instance
    if keyword == "type":
        expected = rule if isinstance(rule, str) else " or ".join(map(str, rule))
        return f"expected {expected}, got {_TYPES.get(type(value), 'another type')}"
    if keyword in ("required", "additionalProperties"):
        return str(error.message)  # the names of fields
    if keyword == "enum":
        return f"is none of {', '.join(map(repr, rule))}"
    if keyword == "format":
        return f"is no {rule}"
    if keyword in ("anyOf", "oneOf"):
        return "matches none of the allowed types"
    return f"does not match {keyword} {msgspec.json.encode(rule).decode()}"


def _converts_to(kind: type) -> Callable[[object], bool]:
    def fits(value: Any) -> bool:
        if isinstance(value, str):
            msgspec.convert(value, kind)
        return True

    return fits
