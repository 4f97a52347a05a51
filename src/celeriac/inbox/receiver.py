"""The idempotent receiver (Enterprise Integration Patterns) around a handler's function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from celeriac.event import Event, event_key

# What an event is known by in an inbox: its key, and the domain that the key is one event within.
Key: TypeAlias = tuple[str, str]
Argument: TypeAlias = Event[Any] | list[Event[Any]]


class Inbox(Protocol):
    """Where the rows lie. `gives` names what a handler may take as its second parameter, if any."""

    is_async: bool
    gives: str

    def receive(self, receiver: IdempotentReceiver, argument: Argument) -> Any:
        """In one transaction: notes the events, and calls the function with those that were new.

        Blocks, or returns a coroutine where `is_async`. Raises what the function raises, and then
        neither its effects nor the notes stay.
        """
        ...


@dataclass(frozen=True, slots=True)
class IdempotentReceiver:
    """Calls the function with what its inbox does not know yet.

    `keep_ms` returns how long a row is kept. It is called before each pruning, because the setting
    belongs to the bus and can change while the worker runs. It may block for a round trip.
    """

    handler: str
    function: Callable[..., Any]
    takes_session: bool
    inbox: Inbox
    keep_ms: Callable[[], int]

    def __call__(self, argument: Argument) -> Any:
        return self.inbox.receive(self, argument)

    def run(self, argument: Argument, session: Any) -> Any:
        """The function's own answer; `session` is handed on if it asks for it."""
        return self.function(argument, session) if self.takes_session else self.function(argument)


def keys_of(argument: Argument) -> list[Key]:
    """The keys of the events, each once; in one order everywhere, so that no two transactions
    wait for each other in a circle."""
    events = argument if isinstance(argument, list) else [argument]
    return sorted({_key_of(event) for event in events})


def unseen(argument: Argument, noted: Iterable[Key]) -> Argument | None:
    """What is left of the argument where only `noted` keys are new; None where nothing is."""
    new = set(noted)
    if not isinstance(argument, list):
        return argument if _key_of(argument) in new else None
    left: list[Event[Any]] = []
    for event in argument:
        key = _key_of(event)
        if key in new:
            new.remove(key)
            left.append(event)
    return left or None


def _key_of(event: Event[Any]) -> Key:
    return event_key(event.id, event.source), event.domain


def slices(keys: Sequence[Key], size: int) -> Iterable[Sequence[Key]]:
    return (keys[i : i + size] for i in range(0, len(keys), size))
