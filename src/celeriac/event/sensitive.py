"""Which fields of data are sensitive: marked in its type, and told to every reader by the event.

The attribute `sensitive` of an event holds their paths, as `card,customer.email,items.*.iban`:
`*` is each item of a list or each value of a mapping, `**` any number of steps, and `.` alone all
of the data. What else would be taken for one of these in a name is percent-encoded. So a reader
masks what is sensitive without knowing the type.
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
# Steps from the data to what is marked. A type at the end of it is one that holds itself.
Path = tuple[Any, ...]

_RESERVED = re.compile(r"[%.,*\x00-\x20\x7f-\x9f]")
_MODELS = ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__")


class Sensitive:
    """Marks a field of a model as sensitive: `card: Annotated[str, Sensitive]`.

    Its value is masked in Flower, logs, the command line and dead letters. Handlers get it
    unmasked.
    """


def sensitive_attribute(schema: Any, kind: type) -> str | None:
    """The attribute for data of `kind` that was declared as `schema`; None if nothing is marked."""
    try:
        return _remembered(schema, kind)
    except TypeError:  # Annotated can hold what has no hash
        return _attribute(schema, kind)


def join_paths(attribute: str | None, given: Sequence[str]) -> str | None:
    """The attribute with further paths; None if there are none at all. Raises InvalidEvent."""
    if isinstance(given, str):
        raise InvalidEvent(f"`sensitive` must be a list of paths, like [{given!r}]")
    named = attribute.split(",") if attribute else []
    return ",".join(dict.fromkeys((*named, *given))) or None


def _attribute(schema: Any, kind: type) -> str | None:
    paths = dict.fromkeys((*_paths(schema, ()), *_paths(kind, ())))
    written = ",".join(".".join(map(escaped, path)) or ALL for path in paths)
    return ALL if len(written) > MAX_LIST else written or None


_remembered = lru_cache(maxsize=4096)(_attribute)


def escaped(step: str) -> str:
    """A step of a path, with what else would be taken for syntax percent-encoded."""
    if step in (ANY, DEEP):
        return step
    return _RESERVED.sub(lambda found: f"%{ord(found[0]):02X}", step)


def _paths(annotation: Any, within: tuple[Any, ...]) -> Iterator[Path]:
    """The paths of what is marked in a type. `within` are the models that it is part of."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    kind = origin or annotation
    if origin is Annotated:
        if any(map(_is_mark, arguments[1:])):
            yield ()
            return
        arguments = arguments[:1]
    if (meant := _meant(annotation, origin)) is not None:
        yield from _paths(meant, within)
    elif isinstance(kind, type) and _is_model(kind):
        yield from _of_model(kind, annotation, within)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from ((ANY, *path) for path in _of_all(arguments[1:], within))
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        yield from ((ANY, *path) for path in _of_all(arguments, within))
    elif origin in (Annotated, Union, types.UnionType) or not isinstance(origin, type):
        # also Required, NotRequired, Final and whatever else only qualifies
        yield from _of_all(arguments, within)


def _of_all(annotations: Iterable[Any], within: tuple[Any, ...]) -> Iterator[Path]:
    for annotation in annotations:
        yield from _paths(annotation, within)


def _is_mark(mark: Any) -> bool:
    return mark is Sensitive or isinstance(mark, Sensitive)


def _meant(annotation: Any, origin: Any) -> Any:
    """What a `type X = …`, a NewType or a bound TypeVar stands for; else None."""
    for one in (annotation, origin):
        if type(one).__name__ == "TypeAliasType":
            return one.__value__
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
    found: dict[Path, None] = {}
    holds_itself = False
    for names, inner in _fields(kind):
        for path in _paths(_filled(inner, arguments), (*within, annotation)):
            if path and path[-1] is annotation:
                holds_itself = True
            else:
                found |= dict.fromkeys((*name, *path) for name in names)
    for path in found:
        yield (DEEP, *path) if holds_itself else path


def _filled(inner: Any, arguments: Mapping[Any, Any]) -> Any:
    """The type of a field of a generic model, with the model's arguments put in."""
    if isinstance(inner, TypeVar):
        return arguments.get(inner, inner)
    variables = getattr(inner, "__parameters__", ())
    if not variables or not arguments or get_origin(inner) is None:
        return inner
    return inner[tuple(arguments.get(variable, variable) for variable in variables)]


def _fields(kind: Any) -> Iterator[tuple[Collection[Path], Any]]:
    """Each field's names on the wire, as steps to it, and its type with what annotates it."""
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
    # Arrays on the wire, whose items have no name.
    config = getattr(kind, "__struct_config__", None)
    is_array = issubclass(kind, tuple) or (config is not None and config.array_like)
    for name, annotation in _hints(kind).items():
        yield [(ANY if is_array else encoded.get(name, name),)], annotation


def _pydantic_fields(
    kind: Any, declared: Mapping[str, Any]
) -> Iterator[tuple[Collection[Path], Any]]:
    is_root = getattr(kind, "__pydantic_root_model__", False)
    for name, field in declared.items():
        # pydantic keeps what Annotated held apart from the type
        marked = any(map(_is_mark, field.metadata))
        annotation = Annotated[field.annotation, Sensitive] if marked else field.annotation
        names = {name, field.alias, field.serialization_alias} - {None}
        yield [()] if is_root else [(one,) for one in sorted(names)], annotation
    computed = getattr(kind, "__pydantic_decorators__", None)
    for name, one in (computed.computed_fields if computed else {}).items():
        names = {name, one.info.alias} - {None}
        yield [(each,) for each in sorted(names)], one.info.return_type


def _hints(kind: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except Exception:
        # A name that cannot be resolved: by its text then, and rather too much than too little.
        written: dict[str, Any] = {}
        for one in reversed(kind.__mro__):
            written |= getattr(one, "__annotations__", {})
        mark: Any = Annotated[Any, Sensitive]
        return {name: mark if "Sensitive" in str(text) else Any for name, text in written.items()}
