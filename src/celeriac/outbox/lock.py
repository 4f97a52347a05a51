"""One relay at a time where the database has no lock that ends with its holder: SQLite."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

SUFFIX = "-celeriac-relay"


@contextmanager
def file_lock(database: str) -> Iterator[bool]:
    """Whether the lock beside the database's file was free; held inside. The kernel frees it when
    its holder dies. The name is what SQLite was told to open; a database in memory has one process,
    and no file.
    """
    if database in ("", ":memory:") or "mode=memory" in database:
        yield True
        return
    path = database.removeprefix("file:").partition("?")[0]
    # Not as it is spelled: a link to the file is the same database.
    with open(os.path.realpath(path) + SUFFIX, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
