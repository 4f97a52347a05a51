"""Generate data that a schema allows: the simplest first, then each part at its limits.

Parts vary one at a time, so that a counterexample shows only the problem. The same schema always
gives the same data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from celeriac.contract.normal_form import Schema

MAX_EXAMPLES = 400
MAX_DEPTH = 6
_TEXTS = ("text", "", "0", "Ünïcödé 処理", "a b")
_FORMATS: dict[str, tuple[str, ...]] = {
    "date-time": ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456+02:00"),
    "date": ("2026-01-02",),
    "time": ("03:04:05Z", "03:04:05"),
    "duration": ("P1DT2H", "PT0.5S"),
    "uuid": ("018f3b9e-7c1a-7e2b-9d3c-4f5a6b7c8d9e",),
    "decimal": ("19.90", "0", "-1E+3"),
    "email": ("a@example.com",),
    "uri": ("https://example.com/a",),
    "ipv4": ("192.0.2.1",),
    "ipv6": ("2001:db8::1",),
}
_GUESSES = (
    "EUR", "A", "AA", "AAAA", "a", "ab", "abc", "1", "12", "123", "1234", "0", "1.5", "A1", "a1",
    "A-1", "a-b", "a.b", "a_b", "2026-01-02", "a@example.com", "https://example.com/a", "x" * 8,
    "deadbeef", "+41791234567", "DE89370400440532013000",
)  # fmt: skip


class NoExample(ValueError):
    """No data that the schema allows was found."""


def examples(schema: Schema) -> Iterator[Any]:
    """Yield data that the schema allows, at most MAX_EXAMPLES; nothing if none is found."""
    made = _Examples(schema.get("$defs", {}))
    try:
        yield made.plainest(schema, 0)
        yield from islice(made.others(schema, 0), MAX_EXAMPLES - 1)
    except NoExample:
        return


class _Examples:
    def __init__(self, definitions: Schema) -> None:
        self.definitions = definitions

    def plainest(self, schema: Any, depth: int) -> Any:
        for branch in self._branches(schema):
            kind = branch.get("type")
            if depth > MAX_DEPTH and kind in ("object", "array", None) and "enum" not in branch:
                continue  # a finite value is needed
            try:
                if kind == "object":
                    return self._object(branch, depth)
                if kind == "array":
                    return self._array(branch, depth)
                return self._values(branch)[0]
            except NoExample:
                continue
        raise NoExample

    def others(self, schema: Any, depth: int) -> Iterator[Any]:
        if depth > MAX_DEPTH:
            return
        branches = self._branches(schema)
        for n, branch in enumerate(branches):
            try:
                if n:
                    yield self.plainest(branch, depth)
                kind = branch.get("type")
                if kind == "object":
                    yield from self._other_objects(branch, depth)
                elif kind == "array":
                    yield from self._other_arrays(branch, depth)
                else:
                    yield from self._values(branch)[1:]
            except NoExample:
                continue

    def _branches(self, schema: Any) -> list[Schema]:
        if schema is True:
            return [{}]
        if not isinstance(schema, dict):
            return []
        reference = schema.get("$ref")
        if reference is not None:
            return self._branches(self.definitions.get(str(reference).rpartition("/")[2], {}))
        for word in ("anyOf", "oneOf"):
            if word in schema:
                base = {key: value for key, value in schema.items() if key != word}
                return [value | base for part in schema[word] for value in self._branches(part)]
        merged = dict(schema)
        for part in merged.pop("allOf", ()):
            for value in self._branches(part)[:1]:
                merged |= value
        return [merged]

    # -- objects

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        required = schema.get("required", ())
        for name, part in schema.get("properties", {}).items():
            try:
                made[name] = self.plainest(part, depth + 1)
            except NoExample:
                if name in required:
                    raise
        if not made and isinstance(schema.get("additionalProperties"), dict):
            made["key"] = self.plainest(schema["additionalProperties"], depth + 1)
        return made

    def _other_objects(self, schema: Schema, depth: int) -> Iterator[Any]:
        plain = self._object(schema, depth)
        properties, required = schema.get("properties", {}), schema.get("required", ())
        for name, part in properties.items():
            if name not in required:
                yield {key: value for key, value in plain.items() if key != name}
            for value in self.others(part, depth + 1):
                yield plain | {name: value}
        if len(properties) > len(required):
            yield {key: value for key, value in plain.items() if key in required}
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            if not properties:
                yield {}
            for value in self.others(values, depth + 1):
                yield plain | {"key": value}

    # -- arrays

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        made = [self.plainest(part, depth + 1) for part in schema.get("prefixItems", ())]
        count = max(schema.get("minItems", 0), min(1, schema.get("maxItems", 1)))
        items = schema.get("items", {})
        while len(made) < count and items is not False:
            try:
                made.append(self.plainest(items, depth + 1))
            except NoExample:
                if len(made) < schema.get("minItems", 0):
                    raise
                break
        return made

    def _other_arrays(self, schema: Schema, depth: int) -> Iterator[Any]:
        plain, first = self._array(schema, depth), schema.get("prefixItems", ())
        for n, part in enumerate(first):
            for value in self.others(part, depth + 1):
                yield [*plain[:n], value, *plain[n + 1 :]]
        needed = schema.get("minItems", 0)
        if len(plain) > needed:
            yield plain[:needed]
        items = schema.get("items", {})
        if items is False or len(plain) <= len(first):
            return
        for value in self.others(items, depth + 1):
            yield [*plain[:-1], value]
        if len(plain) < schema.get("maxItems", MAX_EXAMPLES):
            yield [*plain, plain[-1]]

    # -- plain values

    def _values(self, schema: Schema) -> list[Any]:
        """Return values, the simplest first. Raises NoExample."""
        kind = schema.get("type")
        if "enum" in schema:
            values: list[Any] = list(schema["enum"])
        elif kind == "string":
            values = _texts(schema)
        elif kind in ("integer", "number"):
            values = _numbers(schema, is_integer=kind == "integer")
        else:
            named: dict[Any, list[Any]] = {"boolean": [True, False], "null": [None]}
            values = named.get(kind, ["anything", 1, None, [], {}])
        if not values:
            raise NoExample
        return values


def _texts(schema: Schema) -> list[str]:
    if schema.get("contentEncoding") == "base64":
        return ["AAEC", ""]
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 1000)
    if "pattern" in schema:
        guesses: tuple[str, ...] = (*_GUESSES, *_TEXTS, *_generated(schema))
    else:
        guesses = (*_FORMATS.get(schema.get("format", ""), _TEXTS),)
        if "format" not in schema:
            guesses = (*guesses, "x" * shortest, "x" * longest)
    pattern = re.compile(schema.get("pattern", ""))
    return [text for text in guesses if shortest <= len(text) <= longest and pattern.search(text)]


def _generated(schema: Schema) -> Iterator[str]:
    """Return values that jsoncompat generates for a pattern, if it is installed and supports it."""
    try:
        import jsoncompat

        for _ in range(8):
            yield json.loads(jsoncompat.generate_value(json.dumps(schema)))
    except (ImportError, ValueError):
        return


def _numbers(schema: Schema, *, is_integer: bool) -> list[Any]:
    step = schema.get("multipleOf")
    minimum = schema.get("minimum", schema.get("exclusiveMinimum"))
    maximum = schema.get("maximum", schema.get("exclusiveMaximum"))
    near = [edge + by for edge in (minimum, maximum) if edge is not None for by in (0, 1, -1)]
    if is_integer:
        guesses = [1, 0, -1, *near, 2**31, -(2**31) - 1, 2**53 + 1]
    else:
        guesses = [19.9, 0, 1, -0.5, *near, *(edge + 0.5 for edge in near), 1e300]
    if step:
        guesses = [step, 0, -step, *(step * round(guess / step) for guess in guesses)]
    return [guess for guess in guesses if _is_within(guess, schema)]


def _is_within(number: Any, schema: Schema) -> bool:
    return (
        number >= schema.get("minimum", number)
        and number <= schema.get("maximum", number)
        and ("exclusiveMinimum" not in schema or number > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or number < schema["exclusiveMaximum"])
    )
