"""The server's clock, estimated. It decides which keys some scripts touch: they are given those of
its neighbours too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import ResponseError

from celeriac.store.redis.connection import Client, server_time_ms

T = TypeVar("T")


class ServerClock:
    """Asks the server once, and goes on by the process' monotonic clock. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # The server's time in ms and the monotonic clock, at one moment.
        self._seen: tuple[int, float] | None = None

    def now_ms(self) -> int:
        """Return the server's time. Blocks for a round trip where nothing is known of it."""
        seen = self._seen
        if seen is None:
            seen = self._seen = server_time_ms(self._client), time.monotonic()
        at_ms, since = seen
        return at_ms + int((time.monotonic() - since) * 1000)

    def note(self, now_ms: int) -> None:
        """Note the server's time, as it just answered."""
        self._seen = now_ms, time.monotonic()

    def corrected(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, which asks for the time. Where its script answers that it is
        wrong, the server is asked, and it is called again."""
        try:
            return call()
        except ResponseError as error:
            if not is_wrong_clock(error):
                raise
        self.forget()
        return call()

    def forget(self) -> None:
        """Ask again the next time: the estimate is wrong, as after the clock stepped."""
        self._seen = None


def is_wrong_clock(answer: object) -> bool:
    """Whether a script answered that none of the keys given is of the server's time."""
    return isinstance(answer, Exception) and str(answer).startswith("CLOCK")
