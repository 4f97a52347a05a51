"""A function that every worker instance calls with each event, while it lives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from celeriac.errors import SubscriptionError
from celeriac.event import Matcher, compile_patterns
from celeriac.handler.event_filter import Predicate, read_tenants
from celeriac.handler.handler import handler_name
from celeriac.handler.options import HandlerOptions
from celeriac.handler.signature import qualified_name, read_signature

# Where it runs: once in each worker, or in each of its pool processes.
Scope = Literal["worker", "process"]
_ALLOWED = frozenset({"name", "signed", "tenants", "when"})
_DEFAULTS = HandlerOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastHandler:
    """A function that gets each event in every worker instance, at most once.

    It has no consumer group, no attempts and no records. `id` is `service.name`.
    """

    id: str
    function: Callable[..., Any]
    patterns: tuple[str, ...]
    matcher: Matcher
    # Applied by `when`, which combines both.
    tenants: frozenset[str] | None
    when: Predicate | None
    data_type: Any
    signed: bool
    scope: Scope


def make_broadcast_handler(
    function: Callable[..., Any],
    patterns: Sequence[str],
    options: HandlerOptions,
    *,
    service: str,
    broadcast: Any,
) -> BroadcastHandler:
    """Return the handler for a function and `broadcast=`.

    Raises SubscriptionError, with the remedy, for a wrong name, pattern, option or signature.
    """
    handler_id = f"{service}.{handler_name(function, options, service)}"
    try:
        if broadcast is not True and broadcast not in get_args(Scope):
            raise SubscriptionError(
                f"broadcast={broadcast!r}: must be True or 'worker', for once in each worker, or "
                "'process', for each of its pool processes"
            )
        _check_options(options)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise SubscriptionError(
                f"{qualified_name(function)} is a generator, and what a broadcast handler returns "
                "is ignored. Remove `yield`, and emit with bus.emit(...)"
            )
        signature = read_signature(function, batch=False)
        matcher = compile_patterns(*patterns)
        tenants = read_tenants(options.tenants)
    except SubscriptionError as error:
        raise SubscriptionError(f"@bus.on for {handler_id}: {error}") from None
    return BroadcastHandler(
        id=handler_id,
        function=function,
        patterns=tuple(dict.fromkeys(patterns)),
        matcher=matcher,
        when=options.when,
        tenants=tenants,
        data_type=signature.data_type,
        signed=bool(options.signed),
        scope="process" if broadcast == "process" else "worker",
    )


def _check_options(options: HandlerOptions) -> None:
    given = [
        field.name
        for field in fields(options)
        if field.name not in _ALLOWED
        and getattr(options, field.name) != getattr(_DEFAULTS, field.name)
    ]
    if given:
        raise SubscriptionError(
            f"broadcast= excludes {', '.join(f'{name}=' for name in given)}: a broadcast is not "
            "stored for each handler, and not retried. Remove one of them"
        )
