"""The decorators of a process's methods: what each of them handles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "__celeriac_process__"


@dataclass(frozen=True, slots=True)
class Declared:
    """What a method handles: events of `patterns`, or the expiry of `timers`."""

    patterns: tuple[Any, ...] = ()
    timers: tuple[Any, ...] = ()
    starts: bool = False


def starts(*patterns: str) -> Callable[[F], F]:
    """Handle events of these types; the first one for a key starts its instance.

    If an instance is open, the method runs on it. If it has ended, the event is skipped.
    """
    return _marking(Declared(patterns=patterns, starts=True))


def on(*patterns: str) -> Callable[[F], F]:
    """Handle events of these types on an open instance.

    Without an instance, the option `missing` of the process decides. `*` matches one segment, `#`
    zero or more.
    """
    return _marking(Declared(patterns=patterns))


def reminded(*timers: str) -> Callable[[F], F]:
    """Handle the expiry of these timers, which `self.remind` sets. The method takes no event."""
    return _marking(Declared(timers=timers))


def _marking(declared: Declared) -> Callable[[F], F]:
    def mark(function: F) -> F:
        marks = (*getattr(function, ATTRIBUTE, ()), declared)
        setattr(function, ATTRIBUTE, marks)
        return function

    return mark
