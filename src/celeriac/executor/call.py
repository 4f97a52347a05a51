"""Calling a handler's function, sync or async, from any pool."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from celeriac.subscription import Handler

_local = threading.local()


def call(handler: Handler, argument: Any) -> None:
    """Runs the function to its end in this thread; blocks. Raises what it raises."""
    if not handler.is_async:
        handler.function(argument)
    elif _in_gevent():
        _call_beside_gevent(handler.function, argument)
    else:
        _runner().run(handler.function(argument), context=copy_context())


def _runner() -> asyncio.Runner:
    """One event loop for each thread of each process, kept: clients of the handler live in it."""
    kept: tuple[int, asyncio.Runner] | None = getattr(_local, "runner", None)
    if kept is None or kept[0] != os.getpid():
        kept = (os.getpid(), asyncio.Runner())
        _local.runner = kept
        atexit.register(kept[1].close)
    return kept[1]


def _in_gevent() -> bool:
    """Whether this runs in a monkey-patched worker, where all greenlets share one thread, and so
    one running event loop at most."""
    try:
        from gevent import monkey
    except ImportError:
        return False
    return bool(monkey.is_module_patched("threading"))


def _call_beside_gevent(function: Callable[[Any], Coroutine[Any, Any, Any]], argument: Any) -> None:
    """Runs the coroutine in a native thread of gevent's pool; only this greenlet waits."""
    import gevent

    context = copy_context()

    def run() -> None:
        _runner().run(function(argument), context=context)

    gevent.get_hub().threadpool.apply(run)
