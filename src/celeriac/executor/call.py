"""Call a handler's function, sync or async, in any pool."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import threading
from collections.abc import Awaitable, Coroutine
from contextvars import copy_context
from typing import Any

from celeriac.fork import leave_to_parent
from celeriac.handler import Handler

_local = threading.local()


def call(handler: Handler, argument: Any) -> None:
    """Run the function to its end in this thread; blocks. Raises what it raises."""
    answer = (handler.receiver or handler.function)(argument)
    if answer is None:
        return
    # Not `handler.is_async`: a decorator may hide that the function is async, and its coroutine
    # would count as processed without having run.
    if not inspect.isawaitable(answer):
        if inspect.isgenerator(answer) or inspect.isasyncgen(answer):
            raise TypeError(
                f"{handler.id} returned a generator, and nothing ran it; remove `yield` from the "
                "function that its decorator calls"
            )
        return
    run_awaitable(answer)


def run_awaitable(answer: Awaitable[Any] | None) -> None:
    """Wait for the result in this thread's event loop. Blocks; does nothing for None."""
    if answer is None:
        return
    if isinstance(answer, asyncio.Future):
        # A future completes only in its own loop.
        loop = answer.get_loop()
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(_as_coroutine(answer), loop).result()
        else:
            loop.run_until_complete(answer)
        return
    if not inspect.iscoroutine(answer):
        answer = _as_coroutine(answer)
    if _in_gevent():
        _run_among_greenlets(answer)
    else:
        _runner().run(answer, context=copy_context())


async def _as_coroutine(answer: Awaitable[Any]) -> None:
    await answer


def _runner() -> asyncio.Runner:
    """Return the event loop of this thread and process, which clients of the handler may use."""
    kept: tuple[int, asyncio.Runner] | None = getattr(_local, "runner", None)
    if kept is None or kept[0] != os.getpid():
        # Closing the parent's loop here would remove its sockets from the selector that both
        # processes share.
        leave_to_parent(kept)
        kept = _local.runner = (os.getpid(), asyncio.Runner())
        atexit.register(_close_own, *kept)
    return kept[1]


def _close_own(process: int, runner: asyncio.Runner) -> None:
    """Close the runner at exit. A forked child also runs what its parent registered."""
    if process == os.getpid():
        runner.close()


def _in_gevent() -> bool:
    """Return whether this is a monkey-patched worker, where all greenlets share one thread, and so
    at most one running event loop."""
    try:
        from gevent import monkey
    except ImportError:
        return False
    return bool(monkey.is_module_patched("threading"))


def _run_among_greenlets(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run the coroutine in the one event loop of this process; only this greenlet waits.

    Not in a native thread: objects that handlers share are patched for greenlets, and a patched
    lock or socket breaks when two threads use it.
    """
    from gevent.event import AsyncResult

    loop, context, result = _greenlet_loop(), copy_context(), AsyncResult()

    def complete(task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            result.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            result.set_exception(error)
        else:
            result.set(None)

    def begin() -> None:
        loop.create_task(coroutine, context=context).add_done_callback(complete)

    loop.call_soon_threadsafe(begin)
    result.get()


_greenlet_loops: dict[int, asyncio.AbstractEventLoop] = {}


def _greenlet_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that a greenlet of this process runs forever, on gevent's selector."""
    import gevent

    pid = os.getpid()
    if pid not in _greenlet_loops:
        loop = _greenlet_loops[pid] = asyncio.new_event_loop()
        gevent.spawn(loop.run_forever)
    return _greenlet_loops[pid]
