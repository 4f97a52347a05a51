"""An event loop in a thread, for code that waits for coroutines without a loop of its own."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """An event loop in a daemon thread of this process, started at its first use.

    It does not survive a fork: the child makes another one. `close` runs in the loop when the
    process ends.
    """

    def __init__(
        self, name: str, close: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        self._name, self._on_close = name, close
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of the coroutine. Blocks, also the loop of the caller."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        try:
            return future.result()
        except BaseException:
            # A soft time limit is raised here while the coroutine still runs.
            future.cancel()
            raise

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name=self._name, daemon=True)
                thread.start()
                atexit.register(self._close, os.getpid(), loop, thread)
                # Not before: a time limit may interrupt the start.
                self._loop = loop
            return self._loop

    def _close(
        self, process: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread
    ) -> None:
        """End the thread at exit. A forked child also runs what its parent registered."""
        if process != os.getpid():
            return
        if self._on_close is not None:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(self._on_close(), loop).result(1)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(1)
