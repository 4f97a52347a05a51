"""The idempotent receiver (Enterprise Integration Patterns) around a handler's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from celeriac.event import Event, event_key

# The identity of an event in an inbox: its event key, which is unique within the domain, and the
# domain.
Key: TypeAlias = tuple[str, str]
Argument: TypeAlias = Event[Any] | list[Event[Any]]


class EmitsReturned(Protocol):
    """Emits the events in what a handler returned: see celeriac.emitter.ReturnedEvents."""

    def emit(self, answer: Any, session: Any = None, using: str | None = None) -> None: ...

    async def aemit(self, answer: Any, session: Any) -> None: ...

    def send_replies(self, *, is_committed: bool) -> None: ...


class Inbox(Protocol):
    """A store of processed events.

    `session_kind` names what a handler may take as its second parameter; empty if nothing.
    """

    is_async: bool
    session_kind: str

    def receive(self, receiver: IdempotentReceiver, argument: Argument) -> Any:
        """Record the events and call the function with the new ones, in one transaction.

        Blocks, or returns a coroutine if `is_async`. Raises what the function raises; then the
        transaction is rolled back.
        """
        ...


@dataclass(frozen=True, slots=True)
class IdempotentReceiver:
    """Calls the function with the events that its inbox has not recorded.

    `returned` emits the events that the function returns, in the transaction of the inbox.

    `keep_ms` returns how long a row is kept. It is called before each pruning, because the setting
    belongs to the bus and can change while the worker runs. It may block for a round trip.
    """

    handler: str
    function: Callable[..., Any]
    takes_session: bool
    inbox: Inbox
    keep_ms: Callable[[], int]
    returned: EmitsReturned | None = None

    def __call__(self, argument: Argument) -> Any:
        return self.inbox.receive(self, argument)

    def run(self, argument: Argument, session: Any, *, using: str | None = None) -> None:
        """Call the function, and emit what it returns: in the transaction of the session, or in
        that of Django's database `using`."""
        answer = self._call(argument, session)
        if answer is not None and self.returned is not None:
            self.returned.emit(answer, session if using is None else None, using)

    async def arun(self, argument: Argument, session: Any) -> None:
        """Do what `run` does with a coroutine function or an async generator."""
        answer = self._call(argument, session)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is not None and self.returned is not None:
            await self.returned.aemit(answer, session)

    def _call(self, argument: Argument, session: Any) -> Any:
        return self.function(argument, session) if self.takes_session else self.function(argument)


def keys_of(argument: Argument) -> list[Key]:
    """Return the keys of the events, each once, sorted so that transactions cannot deadlock."""
    events = argument if isinstance(argument, list) else [argument]
    return sorted({_key_of(event) for event in events})


def unseen(argument: Argument, new_keys: Iterable[Key]) -> Argument | None:
    """Return the part of the argument whose keys are new; None if no key is."""
    new = set(new_keys)
    if not isinstance(argument, list):
        return argument if _key_of(argument) in new else None
    events: list[Event[Any]] = []
    for event in argument:
        key = _key_of(event)
        if key in new:
            new.remove(key)
            events.append(event)
    return events or None


def _key_of(event: Event[Any]) -> Key:
    return event_key(event.id, event.source), event.domain


def slices(keys: Sequence[Key], size: int) -> Iterable[Sequence[Key]]:
    """Yield the keys in slices of at most `size`."""
    return (keys[i : i + size] for i in range(0, len(keys), size))
