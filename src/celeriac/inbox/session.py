"""The transaction of the current handler, for code that does not get it as a parameter."""

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
            "no inbox transaction is open. Call current_session() only within a handler with "
            "@bus.on(..., inbox=...)"
        )
    return session


@contextmanager
def in_session(session: Any) -> Iterator[None]:
    """Make the session current in the `with` block, for this thread or asyncio task."""
    token = _current.set(session)
    try:
        yield
    finally:
        _current.reset(token)
