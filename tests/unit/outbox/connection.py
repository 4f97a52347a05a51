"""A connection of psycopg 3 to no server, on which a relay waits for notifications."""

from __future__ import annotations

import os
from collections.abc import Iterator


class ListeningConnection:
    """Records (seconds, notifications) of each wait. `error` is raised by a wait, if it is set."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.waited: list[tuple[float, int | None]] = []
        self.error: Exception | None = None
        self._descriptor = descriptor

    def notifies(self, *, timeout: float, stop_after: int | None) -> Iterator[str]:
        self.waited.append((timeout, stop_after))
        yield from ("first", "second")
        if self.error is not None:
            raise self.error

    def fileno(self) -> int:
        if self._descriptor is None:
            raise OSError("the connection is closed")
        return self._descriptor


def is_null(descriptor: int) -> bool:
    """Return whether the file descriptor is /dev/null."""
    return os.path.samestat(os.fstat(descriptor), os.stat(os.devnull))
