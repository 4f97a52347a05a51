"""Bind a producer and the server to separate cores.

The scheduler puts two processes that wake each other thousands of times a second sometimes on one
core and sometimes on two. A round trip takes twice as long in one case as in the other, which would
decide the result by chance.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def separate_cores(server: int, producer: int) -> Iterator[None]:
    """Bind both until the block ends. Does nothing with one core, or without CPU affinity."""
    free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(free) < 2:
        yield
        return
    bind(server, {free[1]})
    bind(producer, {free[0]})
    try:
        yield
    finally:
        bind(server, set(free))
        bind(producer, set(free))


def bind(process: int, cores: set[int]) -> None:
    """Bind all threads of a process."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)
