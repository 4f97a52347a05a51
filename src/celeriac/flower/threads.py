"""Threads for blocking calls, so that Flower's event loop never blocks.

They are separate from Flower's threads: a Redis that hangs must not use up Flower's.
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
    """Run the call in a thread and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_pool(), call, *args)
