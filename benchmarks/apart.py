"""A producer and the server, each on a core of its own.

Left to the scheduler, two processes that wake each other thousands of times a second lie now on
one core and now on two, and a round trip costs twice as much in the one as in the other: which of
them a contestant met would decide its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def apart(server: int, producer: int) -> Iterator[None]:
    """On a machine of one core, or of a system without affinity, it leaves them where they are."""
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
    """All its threads."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)
