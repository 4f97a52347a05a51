"""JSON Schemas of models, for written data and for read data.

Written data is closed: emit writes the declared fields and no others. Fields with a default are
always written, unless the Struct has `omit_defaults`. A reader is open: it ignores unknown fields,
unless its model forbids them. So a reader accepts everything that a writer can write if the closed
schema is within the open one.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from celeriac.contract.normal_form import Schema, normal_form
from celeriac.contract.struct_schema import StructSchema
from celeriac.event.annotation import mentions_pydantic

Mode = Literal["write", "read"]


def written_schema(model: Any) -> Schema:
    """Return the schema of written data of a contract's model, in its normal form."""
    return normal_form(_schema(model, "write"))


def read_schema(annotation: Any) -> Schema:
    """Return the schema of the data that a handler with this annotation accepts."""
    return normal_form(_schema(annotation, "read"))


def _schema(annotation: Any, mode: Mode) -> Schema:
    if annotation in (Any, object, msgspec.Raw):
        return {}
    if mentions_pydantic(annotation):
        return pydantic_schema(annotation, mode)
    schemas = StructSchema(mode, pydantic_schema)
    schema = schemas.of(msgspec.inspect.type_info(annotation))
    return schema | ({"$defs": schemas.definitions} if schemas.definitions else {})


def pydantic_schema(annotation: Any, mode: Mode) -> Schema:
    """Return pydantic's schema; for written data with all fields, and closed."""
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class Read(GenerateJsonSchema):
        def decimal_schema(self, schema: Any) -> Any:
            text = {"type": "string", "format": "decimal"}
            return {"anyOf": [text, {"type": "number"}]} if mode == "read" else text

    class Written(Read):
        def field_is_required(self, field: Any, total: bool) -> bool:
            if field["type"] == "typed-dict-field":
                return bool(field.get("required", total))
            return not field.get("serialization_exclude")

    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    if mode == "read":
        return adapter.json_schema(mode="validation", by_alias=True, schema_generator=Read)
    schema = adapter.json_schema(mode="serialization", by_alias=True, schema_generator=Written)
    closed_schema: Schema = closed(schema)
    return closed_schema


def closed(schema: Any) -> Any:
    """Return the schema with closed objects, except those that are open explicitly."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        inner.setdefault("additionalProperties", False)
    return inner
