"""Annotations of handlers: event or list of events, and the type of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

from celeriac.event.envelope import Event


def event_type_argument(annotation: Any) -> Any | None:
    """Return X for `Event[X]` and `list[Event[X]]`, Any for a bare Event, None for other types.

    For `Event[None]` it returns `type(None)`. The annotation must be resolved, not a string.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return event_type_argument(arguments[0])
    if is_batch(annotation):
        return event_type_argument(arguments[0])
    if annotation is Event:
        return Any
    if origin is Event:
        return Any if isinstance(arguments[0], TypeVar) else arguments[0]
    return None


def is_batch(annotation: Any) -> bool:
    """Return whether the annotation is a list of events: `list[Event]`, `Sequence[Event[X]]`."""
    if get_origin(annotation) is Annotated:
        return is_batch(get_args(annotation)[0])
    if get_origin(annotation) not in (list, Sequence, Iterable):
        return False
    (argument,) = get_args(annotation)
    return argument is Event or get_origin(argument) is Event


def annotation_name(annotation: Any) -> str:
    """Return the annotation as in source code, for messages."""
    name = getattr(annotation, "__qualname__", None)
    return name if isinstance(annotation, type) and name else str(annotation)


def mentions_pydantic(annotation: Any) -> bool:
    """Return whether the annotation contains a pydantic model or dataclass."""
    # By an attribute, so that pydantic is imported only by applications that use it.
    if hasattr(annotation, "__pydantic_validator__"):
        return True
    return any(mentions_pydantic(argument) for argument in get_args(annotation))
