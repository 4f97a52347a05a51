"""The normal form of a JSON Schema: equal for equivalent schemas.

Libraries differ between releases in titles, references and order. A digest must not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

Schema = dict[str, Any]

# Keywords without effect on which data is valid.
_FOR_PEOPLE = frozenset(
    ("title", "description", "default", "examples", "deprecated", "discriminator", "$comment")
)
_MAPS = frozenset(("properties", "patternProperties", "$defs"))
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_SCHEMAS = frozenset(("items", "additionalProperties", "not", "propertyNames", "contains"))
_REFERENCE = "#/$defs/"


def normal_form(schema: Mapping[str, Any]) -> Schema:
    """Return the schema without annotations, with resolved references and sorted lists.

    Only recursive references are kept.
    """
    form = _Form(schema.get("$defs", {}))
    plain: Schema = form.of({name: value for name, value in schema.items() if name != "$defs"}, ())
    if form.recursive:
        plain["$defs"] = {
            name: form.of(form.definitions[name], (name,)) for name in sorted(form.recursive)
        }
    return plain


def digest(schema: Mapping[str, Any]) -> str:
    """Return the digest of a schema in its normal form, as 16 hex digits."""
    text = msgspec.json.encode(schema, order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16]


class _Form:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self.definitions = definitions
        self.recursive: set[str] = set()

    def of(self, schema: Any, within: tuple[str, ...]) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith(_REFERENCE):
            name = reference.removeprefix(_REFERENCE)
            if name in within:
                self.recursive.add(name)
                return {"$ref": reference}
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            resolved = self.of(self.definitions.get(name, {}), (*within, name))
            return resolved | self.of(beside, within)
        plain = {
            key: self._value(key, value, within)
            for key, value in sorted(schema.items())
            if key not in _FOR_PEOPLE
        }
        return _simplified(plain)

    def _value(self, key: str, value: Any, within: tuple[str, ...]) -> Any:
        if key in _MAPS and isinstance(value, Mapping):
            return {name: self.of(item, within) for name, item in sorted(value.items())}
        if key in _LISTS and isinstance(value, list):
            return [self.of(item, within) for item in value]
        if key in _SCHEMAS:
            return self.of(value, within)
        if key in ("required", "enum") and isinstance(value, list):
            return sorted(value, key=lambda item: (type(item).__name__, str(item)))
        return value


def _simplified(schema: Schema) -> Schema:
    if len(schema.get("allOf", ())) == 1:
        [only] = schema.pop("allOf")
        schema = only | schema
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if schema.get("required") == []:
        del schema["required"]
    if "enum" in schema and isinstance(schema.get("type"), str):
        # Implied by the values.
        del schema["type"]
    if isinstance(schema.get("type"), list):
        kinds = schema.pop("type")
        schema = {"anyOf": [{"type": kind} | schema for kind in kinds]}
    return schema
