"""Cancel a coroutine at each place where it waits, one place after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

MAX_WAITS = 1000


class _Counted:
    """Awaits the coroutine, and cancels its task while it waits for the time `cancelled_wait`."""

    def __init__(self, call: Coroutine[Any, Any, Any], cancelled_wait: int) -> None:
        self._call, self._cancelled_wait = call, cancelled_wait

    def __await__(self) -> Generator[Any, Any, Any]:
        task = asyncio.current_task()
        assert task is not None
        resume: Callable[[Any], Any] = self._call.send
        value: Any = None
        waits = 0
        while True:
            try:
                awaited = resume(value)
            except StopIteration as end:
                return end.value
            if waits == self._cancelled_wait:
                asyncio.get_running_loop().call_soon(task.cancel)
            waits += 1
            try:
                resume, value = self._call.send, (yield awaited)
            except BaseException as error:
                resume, value = self._call.throw, error


async def cancel_at_each_wait(
    call: Callable[[], Coroutine[Any, Any, Any]], check: Callable[[bool], Awaitable[None]]
) -> int:
    """Run the call again and again, cancelled while it waits for the first time, the second …

    Ends with the call that is not cancelled any more, and returns how many were. After each call,
    `check` gets whether it was cancelled.
    """
    for wait in range(MAX_WAITS):
        task = asyncio.ensure_future(_run(_Counted(call(), wait)))
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        await check(task.cancelled())
        if not task.cancelled():
            return wait
    raise AssertionError(f"it waits more than {MAX_WAITS} times")


async def _run(counted: _Counted) -> Any:
    return await counted
