"""Read data by a schema, for handlers whose code is not available."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from celeriac.contract.normal_form import Schema
from celeriac.contract.schema_check import data_path, schema_validator


def foreign_reader(schema: Schema) -> Callable[[str, int, bytes], str]:
    """Return a function of (type, version, data) that returns why data does not match.

    The reason has the value: it is for generated data.
    """
    validator = schema_validator(schema, "celeriac contracts check")

    def decode(type_: str, version: int, data: bytes) -> str:
        error = next(iter(validator.iter_errors(msgspec.json.decode(data))), None)
        return "" if error is None else f"{data_path(error)}: {error.message}"

    return decode
