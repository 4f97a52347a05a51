"""Call a handler's function, sync or async, in any pool."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any

from celeriac.fork import leave_to_parent
from celeriac.handler import Handler
from celeriac.handler.returned import yielded

_local = threading.local()


def call(handler: Handler, argument: Any) -> None:
    """Run the function to its end in this thread, and emit the events that it returns. Blocks.

    Raises what the function raises, and what `emit` raises.
    """
    answer = (handler.receiver or handler.function)(argument)
    if answer is None and handler.receiver is None:
        return
    # Not `handler.is_async`: a decorator may hide that the function is async, and its coroutine
    # would count as processed without having run.
    if inspect.isasyncgen(answer):
        answer = run_awaitable(yielded(answer, handler.id))
    elif inspect.isawaitable(answer):
        answer = run_awaitable(answer)
    if handler.returned is not None:
        if answer is not None:
            handler.returned.emit(answer)
        handler.returned.send_replies(is_committed=handler.receiver is not None)


def run_awaitable(answer: Awaitable[Any] | None) -> Any:
    """Return the result, from this thread's event loop; None is nothing to wait for. Blocks.

    If an exception interrupts the waiting, such as a time limit, the awaitable is cancelled.
    """
    if answer is None:
        return None
    if isinstance(answer, asyncio.Future):
        # A future completes only in its own loop.
        loop = answer.get_loop()
        if loop.is_running():
            waiting = asyncio.run_coroutine_threadsafe(_as_coroutine(answer), loop)
            try:
                return waiting.result()
            except BaseException:
                waiting.cancel()
                raise
        return _run_in(loop, loop.run_until_complete, answer)
    if not inspect.iscoroutine(answer):
        answer = _as_coroutine(answer)
    if in_gevent():
        return _run_among_greenlets(answer)
    runner = _runner()
    return _run_in(runner.get_loop(), partial(runner.run, context=copy_context()), answer)


def _run_in(loop: asyncio.AbstractEventLoop, run: Callable[[Any], Any], answer: Any) -> Any:
    try:
        return run(answer)
    except BaseException:
        # The loop would run the rest of it during the next attempt.
        for task in asyncio.all_tasks(loop):
            if answer in (task, task.get_coro()):
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
        raise


async def _as_coroutine(answer: Awaitable[Any]) -> Any:
    return await answer


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


def in_gevent() -> bool:
    """Return whether this is a monkey-patched worker, where all greenlets share one thread, and so
    at most one running event loop."""
    try:
        from gevent import monkey
    except ImportError:
        return False
    return bool(monkey.is_module_patched("threading"))


def _run_among_greenlets(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run the coroutine in the one event loop of this process; only this greenlet waits.

    Not in a native thread: objects that handlers share are patched for greenlets, and a patched
    lock or socket breaks when two threads use it.
    """
    from gevent.event import AsyncResult

    loop, context, result = _greenlet_loop(), copy_context(), AsyncResult()
    begun: list[asyncio.Task[Any]] = []

    def complete(task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            result.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            result.set_exception(error)
        else:
            result.set(task.result())

    def begin() -> None:
        begun.append(loop.create_task(coroutine, context=context))
        begun[0].add_done_callback(complete)

    loop.call_soon_threadsafe(begin)
    try:
        return result.get()
    except BaseException:
        loop.call_soon_threadsafe(lambda: begun[0].cancel())
        raise


_greenlet_loops: dict[int, asyncio.AbstractEventLoop] = {}


def _greenlet_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that a greenlet of this process runs forever, on gevent's selector."""
    import gevent

    pid = os.getpid()
    if pid not in _greenlet_loops:
        loop = _greenlet_loops[pid] = asyncio.new_event_loop()
        gevent.spawn(loop.run_forever)
    return _greenlet_loops[pid]
