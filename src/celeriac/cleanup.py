"""Cleaning up in a coroutine that is cancelled, and cancelled again while it cleans up.

A cancel scope of anyio, as in the middleware of Starlette and FastAPI, cancels its task again at
each `await` until the task has left the scope.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_tasks: set[asyncio.Task[Any]] = set()  # the event loop has weak references only


async def clean_up(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of the coroutine, which continues if the caller is cancelled."""
    task = asyncio.ensure_future(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return await asyncio.shield(task)
