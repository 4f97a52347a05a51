"""The leader lock for SQLite, which has no lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

SUFFIX = "-celeriac-relay"


@contextmanager
def file_lock(database: str) -> Iterator[bool]:
    """Hold the lock file next to the database; enters with False if another process holds it.

    The kernel releases the lock when its process dies. `database` is the name as given to SQLite. A
    database in memory belongs to one process and needs no lock.
    """
    if database in ("", ":memory:") or "mode=memory" in database:
        yield True
        return
    path = database.removeprefix("file:").partition("?")[0]
    # Resolved, because a symbolic link leads to the same database.
    with open(os.path.realpath(path) + SUFFIX, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
