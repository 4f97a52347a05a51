"""Being woken by PostgreSQL: LISTEN, and the end of waiting when a NOTIFY comes."""

from __future__ import annotations

import os
import time
from typing import Any
from weakref import WeakSet

from celeriac.fork import after_fork_in_child


class Doorbell:
    """Waits on one connection of psycopg 3, which has to LISTEN. `works` is False for another
    driver: then each wait is as long as it may be."""

    def __init__(self, driver_connection: Any) -> None:
        self._connection = driver_connection
        self.works = hasattr(driver_connection, "notifies")
        _open.add(self)

    def wait(self, seconds: float) -> None:
        """Returns at the next notification, at once if one came since the last wait.

        With 0 it forgets what came, which would pile up in a relay that never has to wait.
        """
        if not self.works:
            time.sleep(seconds)
            return
        # The driver keeps what comes while a statement runs (psycopg from 3.2.4 on).
        for _ in self._connection.notifies(timeout=seconds, stop_after=1 if seconds else None):
            pass

    def let_go(self) -> None:
        """In the child of a fork: the socket is the parent's. Held open here, the server would
        not notice the parent's death, and keep its locks."""
        try:
            socket = self._connection.fileno()
            nothing = os.open(os.devnull, os.O_RDWR)
        except Exception:
            return
        os.dup2(nothing, socket)
        os.close(nothing)


_open: WeakSet[Doorbell] = WeakSet()


def _after_in_child() -> None:
    for doorbell in list(_open):
        doorbell.let_go()


after_fork_in_child(_after_in_child)
