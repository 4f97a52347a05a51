"""Notifications of PostgreSQL (LISTEN and NOTIFY), which wake the relay."""

from __future__ import annotations

import os
import time
from typing import Any
from weakref import WeakSet

from celeriac.fork import after_fork_in_child


class PostgresListener:
    """Waits for notifications on one psycopg 3 connection, which must LISTEN.

    `works` is False for other drivers: then each wait takes its full time.
    """

    def __init__(self, driver_connection: Any) -> None:
        self._connection = driver_connection
        self.works = hasattr(driver_connection, "notifies")
        _open.add(self)

    def wait(self, seconds: float) -> None:
        """Wait for a notification; return at once if one arrived since the last wait.

        0 seconds discards the notifications, which would accumulate in a relay that never waits.
        """
        if not self.works:
            time.sleep(seconds)
            return
        # The driver keeps notifications that arrive while a statement runs (psycopg 3.2.4 or
        # later).
        for _ in self._connection.notifies(timeout=seconds, stop_after=1 if seconds else None):
            pass

    def detach(self) -> None:
        """Close the parent's socket in a forked child, without ending the parent's session.

        If it stayed open here, the server would not detect the parent's death and release its
        locks.
        """
        try:
            socket = self._connection.fileno()
            null = os.open(os.devnull, os.O_RDWR)
        except Exception:
            return
        os.dup2(null, socket)
        os.close(null)


_open: WeakSet[PostgresListener] = WeakSet()


def _after_in_child() -> None:
    for listener in list(_open):
        listener.detach()


after_fork_in_child(_after_in_child)
