"""Read data by a schema, for handlers whose code is not available."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from celeriac.contract.normal_form import Schema
from celeriac.extra import needing

# As msgspec and pydantic read them: the schema's `format` is only an annotation.
_FORMATS: dict[str, type] = {
    "date-time": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "duration": datetime.timedelta,
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
}


def foreign_reader(schema: Schema) -> Callable[[str, int, bytes], str]:
    """Return a function of (type, version, data) that returns why data does not match."""
    with needing("contracts", "celeriac contracts check"):
        from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker(formats=())
    for name, kind in _FORMATS.items():
        formats.checks(name, raises=msgspec.ValidationError)(_converts_to(kind))
    validator = Draft202012Validator(schema, format_checker=formats)

    def decode(type_: str, version: int, data: bytes) -> str:
        error = next(iter(validator.iter_errors(msgspec.json.decode(data))), None)
        if error is None:
            return ""
        path = "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in error.absolute_path)
        return f"data{path}: {error.message}"

    return decode


def _converts_to(kind: type) -> Callable[[object], bool]:
    def fits(value: Any) -> bool:
        if isinstance(value, str):
            msgspec.convert(value, kind)
        return True

    return fits
