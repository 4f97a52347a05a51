"""Where calls that block run, so that Flower's loop never does.

Its own few threads and not Flower's: a Redis that hangs must not take those that Flower needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
THREADS = 6


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="celeriac-flower")


async def in_thread(call: Callable[..., T], *args: Any) -> T:
    """The call's result, from a thread."""
    return await asyncio.get_running_loop().run_in_executor(_pool(), call, *args)
