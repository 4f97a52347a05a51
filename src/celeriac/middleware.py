"""Middleware: hooks around `emit`, and around each attempt of a handler.

Hooks run in the order in which middleware was given to the bus: the first one is the outermost.
Before-hooks run from the first to the last, all others from the last to the first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from celeriac.event import Event

Through = Callable[[Event[Any]], Event[Any]]


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt of a handler at an event, or at a batch of events.

    `number` counts from 1; for a batch it is that of the first event. After the handler ended,
    `error` is the exception that it raised, without sensitive values, and `outcome` is `processed`,
    `skipped`, `retry` or `dead`.
    """

    handler: str
    worker: str
    number: int
    events: tuple[Event[Any], ...]
    is_batch: bool = False
    error: BaseException | None = None
    outcome: str = ""

    @property
    def event(self) -> Event[Any]:
        """The event; for a batch, the first event."""
        return self.events[0]


class Middleware:
    """Base class of middleware. Override the hooks that you need; the others do nothing.

    One object serves all threads of a process, and is copied to forked processes. Hooks of attempts
    may be coroutine functions; hooks of `emit` are plain functions, also for `aemit`, and must not
    block.
    """

    def before_emit(self, event: Event[Any]) -> Event[Any]:
        """Return the event to append: the given one, or a changed copy.

        An exception reaches the caller of `emit`; nothing is appended.
        """
        return event

    def after_emit(self, event: Event[Any]) -> None:
        """Called after the event was appended. An exception reaches the caller of `emit`."""

    def emit_failed(self, event: Event[Any], error: BaseException) -> None:
        """Called when an event could not be appended, with the exception that `emit` raises.

        This includes a cancellation of `aemit`. The event may then be appended, as after
        BusUnavailable.
        """

    def before_attempt(self, attempt: Attempt) -> Awaitable[None] | None:
        """Called before the handler. An exception fails the attempt, and the handler does not run:
        `Retry` and `Reject` work as in a handler."""

    def after_attempt(self, attempt: Attempt) -> Awaitable[None] | None:
        """Called after the handler succeeded. An exception fails the attempt."""

    def attempt_failed(self, attempt: Attempt) -> Awaitable[None] | None:
        """Called after the attempt failed, with `attempt.error`. An exception is logged."""

    def around_emit(self, event: Event[Any] | None) -> AbstractContextManager[Through | None]:
        """Wrap one call of `emit` (with its event) or `emit_many` (with None).

        The value of the context manager is called with each event before `before_emit`, and returns
        the event to append; None keeps all of them.
        """
        return _NOTHING

    def around_attempt(self, attempt: Attempt) -> AbstractContextManager[None]:
        """Wrap the other hooks of one attempt and the handler.

        `attempt.error` is set when the context ends. An exception in it fails the attempt.
        """
        return _NOTHING


_NOTHING = nullcontext()


@dataclass(frozen=True, slots=True)
class EmitHooks:
    """The middleware of one bus, for its emitters."""

    middleware: Sequence[Middleware]

    @contextmanager
    def around(self, event: Event[Any] | None) -> Iterator[Through]:
        """Wrap a call of `emit` or `emit_many`; yield the function applied to each event."""
        with ExitStack() as stack:
            steps = [
                (stack.enter_context(middleware.around_emit(event)), middleware)
                for middleware in self.middleware
            ]

            def through(event: Event[Any]) -> Event[Any]:
                for change, middleware in steps:
                    event = middleware.before_emit(event if change is None else change(event))
                return event

            yield through

    @contextmanager
    def around_one(self, event: Event[Any]) -> Iterator[Event[Any]]:
        """Wrap `emit` of one event, appended within the block; yield the event to append."""
        with self.around(event) as through:
            changed = through(event)
            try:
                yield changed
            except BaseException as error:
                self.failed((changed,), error)
                raise
            self.appended((changed,))

    def appended(self, events: Sequence[Event[Any]]) -> None:
        """Call `after_emit` for each event."""
        for middleware in reversed(self.middleware):
            for event in events:
                middleware.after_emit(event)

    def failed(self, events: Sequence[Event[Any]], error: BaseException) -> None:
        """Call `emit_failed` for each event."""
        for middleware in reversed(self.middleware):
            for event in events:
                middleware.emit_failed(event, error)
