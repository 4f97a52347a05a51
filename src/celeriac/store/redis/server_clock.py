"""An estimate of the server's clock. It decides which keys of the minute some scripts use: they are
given the keys of the neighbouring minutes too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import ResponseError

from celeriac.store.redis.connection import Client, server_time_ms

T = TypeVar("T")


class ServerClock:
    """Queries the server once, and continues with the process' monotonic clock. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # The server's time in ms and the monotonic clock, at the same time.
        self._seen: tuple[int, float] | None = None

    def now_ms(self) -> int:
        """Return the server's time. Blocks for a round trip if it was not read before."""
        seen = self._seen
        if seen is None:
            seen = self._seen = server_time_ms(self._client), time.monotonic()
        at_ms, since = seen
        return at_ms + int((time.monotonic() - since) * 1000)

    def note(self, now_ms: int) -> None:
        """Store the server's time, as just returned by the server."""
        self._seen = now_ms, time.monotonic()

    def corrected(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, which uses the estimate.

        If its script reports that the estimate is wrong, reads the clock and calls it again.
        """
        try:
            return call()
        except ResponseError as error:
            if not is_wrong_clock(error):
                raise
        self.forget()
        return call()

    def forget(self) -> None:
        """Read the clock again next time: the estimate is wrong, as after a step of the clock."""
        self._seen = None


def is_wrong_clock(answer: object) -> bool:
    """Return whether a script reported that no given key belongs to the server's time."""
    return isinstance(answer, Exception) and str(answer).startswith("CLOCK")
