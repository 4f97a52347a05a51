"""The transaction that the handler runs in, for code that is not handed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_current: ContextVar[Any] = ContextVar("celeriac_inbox_session", default=None)


def current_session() -> Any:
    """Return the session or connection of the current handler's inbox.

    It is what the handler gets as its second parameter. Raises RuntimeError outside of a handler
    with `inbox=`.
    """
    session = _current.get()
    if session is None:
        raise RuntimeError(
            "no inbox transaction is open here: current_session() is for what a handler with "
            "@bus.on(..., inbox=...) calls"
        )
    return session


@contextmanager
def in_session(session: Any) -> Iterator[None]:
    """Makes it the current one inside, in this thread or asyncio task."""
    token = _current.set(session)
    try:
        yield
    finally:
        _current.reset(token)
