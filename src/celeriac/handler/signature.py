"""The signature of a handler's function: an event or a list of events, and their data type."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_type_hints

from celeriac.contract import check_readable
from celeriac.errors import SubscriptionError
from celeriac.event import check_annotation, event_type_argument, is_batch


@dataclass(frozen=True, slots=True)
class Signature:
    data_type: Any
    is_async: bool
    takes_session: bool = False


def read_signature(function: Callable[..., Any], *, batch: bool, session: str = "") -> Signature:
    """Return what the function takes.

    `session` names what it may take in addition, as a second parameter without a default.

    Raises SubscriptionError, with the remedy, for a function that cannot be called with events.
    """
    name = qualified_name(function)
    expected = "events: list[Event[...]]" if batch else "event: Event[...]"
    if not callable(function):
        raise SubscriptionError(f"{name} is not a function; decorate `def {name}({expected})`")
    parameter, takes_session = _event_parameter(function, name, expected, session)
    annotation = _annotation(function, parameter, name)
    if annotation is inspect.Parameter.empty:
        data_type: Any = Any
    else:
        data_type = event_type_argument(annotation)
        if data_type is None:
            raise SubscriptionError(
                f"{name}({parameter.name}: {inspect.formatannotation(annotation)}) cannot take an "
                f"event; write `{expected}`"
            )
        if is_batch(annotation) != batch:
            remedy = "remove batch=" if batch else "add batch=100, or take one event"
            raise SubscriptionError(
                f"{name} takes {'one event' if batch else 'a list'}; write `{expected}`, or "
                f"{remedy}"
            )
        check_annotation(data_type)
        check_readable(data_type)
    # An object may have an async __call__.
    is_async = any(
        inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)
        for called in (function, getattr(function, "__call__", None))  # noqa: B004
    )
    return Signature(data_type=data_type, is_async=is_async, takes_session=takes_session)


def qualified_name(function: Callable[..., Any]) -> str:
    """Return the function's name for messages; a partial or a callable object has only a repr."""
    return str(getattr(function, "__qualname__", repr(function)))


def _event_parameter(
    function: Callable[..., Any], name: str, expected: str, session: str
) -> tuple[inspect.Parameter, bool]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        raise SubscriptionError(
            f"{name} has no signature; wrap it: `def handler({expected})`"
        ) from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    required_keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if not positional or len(required) > (2 if session else 1) or required_keywords:
        signature = ", ".join(str(p) for p in parameters)
        arguments = f"its event and the {session} of its inbox" if session else "one argument"
        if positional and positional[0].name == "self":
            # a method, or the habit of `@app.task(bind=True)`
            arguments += ", without `self`"
        short = str(getattr(function, "__name__", name))
        raise SubscriptionError(
            f"{name}({signature}) cannot take an event: a handler is called with {arguments}; "
            f"write `def {short}({expected}{f', {session}' if session else ''})`"
        )
    return positional[0], len(required) == 2


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter, name: str) -> Any:
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    while isinstance(function, partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return get_type_hints(inspect.unwrap(function), include_extras=True)[parameter.name]
    except (NameError, AttributeError) as error:
        raise SubscriptionError(
            f"{name}: the annotation {parameter.annotation!r} cannot be resolved ({error}); import "
            "the type at module level, not under `if TYPE_CHECKING:` and not within a function"
        ) from None
