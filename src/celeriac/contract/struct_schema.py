"""JSON Schemas of types that msgspec reads: Structs, dataclasses, TypedDicts and plain types.

msgspec's own schemas have no format of datetimes, and do not mark fields that are always written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

from celeriac.contract.normal_form import Schema, normal_form

_NUMBER_BOUNDS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_PLAIN: dict[type, Schema] = {
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.NoneType: {"type": "null"},
    inspect.BoolType: {"type": "boolean"},
    inspect.DateTimeType: {"type": "string", "format": "date-time"},
    inspect.DateType: {"type": "string", "format": "date"},
    inspect.TimeType: {"type": "string", "format": "time"},
    inspect.TimeDeltaType: {"type": "string", "format": "duration"},
    inspect.UUIDType: {"type": "string", "format": "uuid"},
    inspect.BytesType: {"type": "string", "contentEncoding": "base64"},
    inspect.ByteArrayType: {"type": "string", "contentEncoding": "base64"},
    inspect.MemoryViewType: {"type": "string", "contentEncoding": "base64"},
}
_OBJECTS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType)
_ARRAYS = (
    inspect.ListType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.VarTupleType,
)
_NUMBERS = {inspect.IntType: "integer", inspect.FloatType: "number"}


class StructSchema:
    """Builds one schema. `definitions` are those of recursive types, by name."""

    def __init__(self, mode: str, foreign: Callable[[Any, Any], Schema]) -> None:
        self.writes = mode == "write"
        self._mode = mode
        self._foreign = foreign
        self._open: list[Any] = []
        self.definitions: dict[str, Schema] = {}
        self._recursive: set[Any] = set()

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type of `msgspec.inspect`."""
        if type(kind) in _PLAIN:
            return dict(_PLAIN[type(kind)])
        if type(kind) in _NUMBERS:
            return {"type": _NUMBERS[type(kind)]} | _bounds(kind, _NUMBER_BOUNDS)
        if isinstance(kind, inspect.StrType):
            pattern = {"pattern": kind.pattern} if kind.pattern else {}
            return {"type": "string"} | _lengths(kind, "Length") | pattern
        if isinstance(kind, inspect.DecimalType):
            return self._decimal()
        if isinstance(kind, inspect.Metadata):
            return self.of(kind.type)
        if isinstance(kind, inspect.UnionType):
            return {"anyOf": [self.of(part) for part in kind.types]}
        if isinstance(kind, inspect.LiteralType):
            return {"enum": list(kind.values)}
        if isinstance(kind, inspect.EnumType):
            return {"enum": [member.value for member in kind.cls]}
        if isinstance(kind, inspect.CustomType):
            is_model = hasattr(kind.cls, "__pydantic_validator__")
            return self._inlined(self._foreign(kind.cls, self._mode)) if is_model else {}
        if isinstance(kind, inspect.DictType):
            values = self.of(kind.value_type)
            schema = {"type": "object"} | _lengths(kind, "Properties")
            return schema | ({"additionalProperties": values} if values else {})
        if isinstance(kind, _ARRAYS):
            return {"type": "array", "items": self.of(kind.item_type)} | _lengths(kind, "Items")
        return self._composed(kind)

    def _inlined(self, schema: Schema) -> Schema:
        inlined = normal_form(schema)
        self.definitions |= inlined.pop("$defs", {})
        return inlined

    def _decimal(self) -> Schema:
        text = {"type": "string", "format": "decimal"}
        return text if self.writes else {"anyOf": [text, {"type": "number"}]}

    def _composed(self, kind: Any) -> Schema:
        if isinstance(kind, inspect.TupleType):
            return _tuple([self.of(item) for item in kind.item_types], len(kind.item_types))
        cls = getattr(kind, "cls", None)
        if cls is None:
            return {}
        name = str(getattr(cls, "__qualname__", cls))
        if cls in self._open:
            self._recursive.add(cls)
            return {"$ref": f"#/$defs/{name}"}
        self._open.append(cls)
        schema = self._object(kind) if isinstance(kind, _OBJECTS) else {}
        if isinstance(kind, inspect.NamedTupleType) or getattr(kind, "array_like", False):
            schema = self._array(kind)
        self._open.pop()
        if cls not in self._recursive:
            return schema
        self.definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def _object(self, kind: Any) -> Schema:
        properties = {field.encode_name: self.of(field.type) for field in kind.fields}
        required = [field.encode_name for field in kind.fields if self._is_required(kind, field)]
        if getattr(kind, "tag_field", None):
            properties[kind.tag_field] = {"enum": [kind.tag]}
            required.append(kind.tag_field)
        schema: Schema = {"type": "object", "properties": properties, "required": required}
        if self.writes or getattr(kind, "forbid_unknown_fields", False):
            schema["additionalProperties"] = False
        return schema

    def _is_required(self, kind: Any, field: Any) -> bool:
        if not self.writes or isinstance(kind, inspect.TypedDictType):
            return bool(field.required)
        is_unset = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        if not field.required and is_unset:
            return False
        config = getattr(kind.cls, "__struct_config__", None)
        return bool(field.required) or not getattr(config, "omit_defaults", False)

    def _array(self, kind: Any) -> Schema:
        items = [self.of(field.type) for field in kind.fields]
        if getattr(kind, "tag", None) is not None:
            items.insert(0, {"enum": [kind.tag]})
        needed = sum(field.required or self.writes for field in kind.fields)
        return _tuple(items, needed + (len(items) - len(kind.fields)))


def _tuple(items: list[Schema], needed: int) -> Schema:
    return {"type": "array", "prefixItems": items, "items": False, "minItems": needed}


def _bounds(kind: Any, names: dict[str, str]) -> Schema:
    bounds = ((name, getattr(kind, option, None)) for option, name in names.items())
    return {name: value for name, value in bounds if value is not None}


def _lengths(kind: Any, what: str) -> Schema:
    return _bounds(kind, {"min_length": f"min{what}", "max_length": f"max{what}"})
