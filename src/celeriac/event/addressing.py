"""The `handlers` attribute on the wire: names with spaces between them."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.errors import InvalidEvent
from celeriac.event.attributes import MAX_LIST, check_handler, check_length


def split_handlers(text: object) -> tuple[str, ...]:
    """Return the names in the attribute; an empty tuple for None. Raises InvalidEvent.

    An empty string is refused: as "all handlers" it could deliver an event for one handler to all
    of them.
    """
    if text is None:
        return ()
    if not isinstance(text, str):
        raise InvalidEvent(f"`handlers` must be a string, got {type(text).__name__}")
    check_length("handlers", text, MAX_LIST)
    names = tuple(text.split(" "))
    for name in names:
        check_handler(name)
    return names


def effective_recipients(names: tuple[str, ...], redriven: object) -> tuple[str, ...]:
    """Return the handlers of an event, given the handler it was redriven for, if any.

    Raises InvalidEvent.
    """
    if redriven is None:
        return names
    check_handler(redriven)
    return (str(redriven),) if not names or redriven in names else names


def meant_for(handler: str, matches: bool, references: Sequence[str]) -> bool:
    """Return whether an event with these handler references is for the handler."""
    return matches and (not references or handler in references)
