"""Describe the differences of two schemas."""

from __future__ import annotations

from typing import Any

from celeriac.contract.normal_form import Schema

MAX_DEPTH = 8


def changes(old: Schema, new: Schema) -> list[str]:
    """Return one line per different field: `field cents: integer → number`."""
    return list(_changes(old, new, "", 0))


def _changes(old: Any, new: Any, path: str, depth: int) -> list[str]:
    if old == new or depth > MAX_DEPTH:
        return []
    if not (_is_object(old) and _is_object(new)):
        if _is_array(old) and _is_array(new):
            inner = _changes(old.get("items"), new.get("items"), f"{path}[]", depth + 1)
            if inner:
                return inner
        return [f"{_field(path)}: {kind_of(old)} → {kind_of(new)}"]
    lines = []
    before, after = old["properties"], new["properties"]
    for name in before:
        if name not in after:
            lines.append(f"{_field(_join(path, name))} removed")
    for name, schema in after.items():
        at = _join(path, name)
        if name not in before:
            lines.append(f"{_field(at)} added: {kind_of(schema)}{_optional(new, name)}")
            continue
        lines += _changes(before[name], schema, at, depth + 1)
        if (name in old.get("required", ())) != (name in new.get("required", ())):
            word = "optional" if name in old.get("required", ()) else "required"
            lines.append(f"{_field(at)} is {word} now")
    return lines or [f"{_field(path)}: {_rest(old)} → {_rest(new)}"]


def kind_of(schema: Any) -> str:
    """Return the notation of a type: `integer or null`, `"a" or "b"`."""
    if not isinstance(schema, dict) or not schema:
        return "anything"
    if "anyOf" in schema or "oneOf" in schema:
        kinds = [kind_of(part) for part in schema.get("anyOf") or schema.get("oneOf", ())]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return " or ".join(repr(value) for value in schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"array of {kind_of(schema.get('items'))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {kind_of(schema['additionalProperties'])}"
    if kind == "object" and "properties" in schema:
        return f"object ({', '.join(schema['properties'])})"
    limits = [f"{name} {schema[name]}" for name in sorted(schema) if name not in ("type", "items")]
    return f"{kind} ({', '.join(limits)})" if limits else kind


def _rest(schema: Schema) -> str:
    shown = {k: v for k, v in schema.items() if k not in ("properties", "required", "type")}
    return str(shown)


def _optional(schema: Schema, name: str) -> str:
    return "" if name in schema.get("required", ()) else ", optional"


def _field(path: str) -> str:
    return f"field {path}" if path else "data"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_object(schema: Any) -> bool:
    return isinstance(schema, dict) and isinstance(schema.get("properties"), dict)


def _is_array(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "array"
