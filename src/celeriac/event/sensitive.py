"""Sensitive fields of data: marked in its type, and listed in each event.

The attribute `sensitive` of an event lists their paths, as `card,customer.email,items.*.iban`: `*`
is each item of a list or each value of a mapping, `**` any number of steps, and `.` all of the
data. Such characters in a name are percent-encoded. Readers mask sensitive fields without the type.
"""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import (
    Annotated,
    Any,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from celeriac.errors import InvalidEvent
from celeriac.event.attributes import MAX_LIST
from celeriac.event.model import pydantic_fields

ANY, DEEP, ALL = "*", "**", "."
# An attribute with more paths, or more steps in one of them, masks all of the data.
MAX_PATHS, MAX_STEPS = 500, 32
# Steps from the data to a marked field. A type as the last step is a recursive type.
Path = tuple[Any, ...]

_RESERVED = re.compile(r"[%.,*\x00-\x20\x7f-\x9f]")
_MODELS = ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__")


class Sensitive:
    """Marks a field of a model as sensitive: `card: Annotated[str, Sensitive]`.

    Its value is masked in Flower, logs, the command line and dead letters. Handlers get it
    unmasked.
    """


def sensitive_attribute(schema: Any, kind: type) -> str | None:
    """Return the attribute for data of `kind` declared as `schema`; None if nothing is marked."""
    try:
        return _cached(schema, kind)
    except TypeError:  # Annotated may contain unhashable metadata
        return _attribute(schema, kind)


def join_paths(attribute: str | None, given: Sequence[str]) -> str | None:
    """Return the attribute with further paths; None without any path. Raises InvalidEvent."""
    if isinstance(given, str):
        raise InvalidEvent(f"`sensitive` must be a list of paths, like [{given!r}]")
    named = attribute.split(",") if attribute else []
    return ",".join(dict.fromkeys((*named, *given))) or None


def _attribute(schema: Any, kind: type) -> str | None:
    paths = dict.fromkeys((*_paths(schema, ()), *_paths(kind, ())))
    written = ",".join(".".join(map(escaped, path)) or ALL for path in paths)
    return ALL if len(written) > MAX_LIST else written or None


_cached = lru_cache(maxsize=4096)(_attribute)


def escaped(step: str) -> str:
    """Return a step of a path, with characters of the syntax percent-encoded."""
    if step in (ANY, DEEP):
        return step
    return _RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", step)


def _paths(annotation: Any, within: tuple[Any, ...]) -> Iterator[Path]:
    """Yield the paths of marked fields in a type. `within` are the models around it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    kind = origin or annotation
    if origin is Annotated:
        if any(map(_is_mark, arguments[1:])):
            yield ()
            return
        arguments = arguments[:1]
    if (aliased := _aliased(annotation, origin)) is not None:
        yield from _paths(aliased, within)
    elif isinstance(kind, type) and _is_model(kind):
        yield from _of_model(kind, annotation, within)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from ((ANY, *path) for path in _of_all(arguments[1:], within))
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        yield from ((ANY, *path) for path in _of_all(arguments, within))
    elif origin in (Annotated, Union, types.UnionType) or not isinstance(origin, type):
        # Also Required, NotRequired, Final and other qualifiers.
        yield from _of_all(arguments, within)


def _of_all(annotations: Iterable[Any], within: tuple[Any, ...]) -> Iterator[Path]:
    for annotation in annotations:
        yield from _paths(annotation, within)


def _is_mark(mark: Any) -> bool:
    return mark is Sensitive or isinstance(mark, Sensitive)


def _aliased(annotation: Any, origin: Any) -> Any:
    """Return the type behind a `type X = …`, a NewType or a bound TypeVar; else None."""
    for alias in (annotation, origin):
        if type(alias).__name__ == "TypeAliasType":
            return alias.__value__
    if isinstance(annotation, TypeVar):
        return annotation.__bound__
    return getattr(annotation, "__supertype__", None)


def _is_model(kind: type) -> bool:
    if pydantic_fields(kind) is not None:
        return True
    if any(hasattr(kind, mark) for mark in _MODELS) or is_typeddict(kind):
        return True
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _of_model(kind: Any, annotation: Any, within: tuple[Any, ...]) -> Iterator[Path]:
    if annotation in within:
        yield (annotation,)
        return
    arguments = dict(zip(getattr(kind, "__parameters__", ()), get_args(annotation), strict=False))
    paths: dict[Path, None] = {}
    is_recursive = False
    for names, inner in _fields(kind):
        for path in _paths(_filled(inner, arguments), (*within, annotation)):
            if path and path[-1] is annotation:
                is_recursive = True
            else:
                paths |= dict.fromkeys((*name, *path) for name in names)
    for path in paths:
        yield (DEEP, *path) if is_recursive else path


def _filled(inner: Any, arguments: Mapping[Any, Any]) -> Any:
    """Return the type of a field of a generic model, with the model's type arguments."""
    if isinstance(inner, TypeVar):
        return arguments.get(inner, inner)
    variables = getattr(inner, "__parameters__", ())
    if not variables or not arguments or get_origin(inner) is None:
        return inner
    return inner[tuple(arguments.get(variable, variable) for variable in variables)]


def _fields(kind: Any) -> Iterator[tuple[Collection[Path], Any]]:
    """Yield each field's names in JSON, as steps to it, and its annotated type."""
    if (declared := pydantic_fields(kind)) is not None:
        yield from _pydantic_fields(kind, declared)
        return
    encoded: dict[str, str] = dict(
        zip(
            getattr(kind, "__struct_fields__", ()),
            getattr(kind, "__struct_encode_fields__", ()),
            strict=True,
        )
    )
    # Encoded as JSON arrays, whose items have no names.
    config = getattr(kind, "__struct_config__", None)
    is_array = issubclass(kind, tuple) or (config is not None and config.array_like)
    for name, annotation in _annotations(kind).items():
        yield [(ANY if is_array else encoded.get(name, name),)], annotation


def _pydantic_fields(
    kind: Any, declared: Mapping[str, Any]
) -> Iterator[tuple[Collection[Path], Any]]:
    is_root = getattr(kind, "__pydantic_root_model__", False)
    for name, field in declared.items():
        # pydantic stores the metadata of Annotated separately from the type.
        marked = any(map(_is_mark, field.metadata))
        annotation = Annotated[field.annotation, Sensitive] if marked else field.annotation
        names = {name, field.alias, field.serialization_alias} - {None}
        yield [()] if is_root else [(alias,) for alias in sorted(names)], annotation
    computed = getattr(kind, "__pydantic_decorators__", None)
    for name, field in (computed.computed_fields if computed else {}).items():
        names = {name, field.info.alias} - {None}
        yield [(alias,) for alias in sorted(names)], field.info.return_type


def _annotations(kind: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception:
        # A name cannot be resolved: use its text, and mask too much rather than too little.
        written: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            written |= getattr(base, "__annotations__", {})
        mark: Any = Annotated[Any, Sensitive]
        return {name: mark if "Sensitive" in str(text) else Any for name, text in written.items()}
