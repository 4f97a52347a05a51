"""Place the demo's orders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from devtools.demo.processes import DemoFailed


class OrderGenerator(threading.Thread):
    """A thread that places orders 1, 2, 3, … until `events` are placed or it is closed."""

    def __init__(
        self, place_order: Callable[[int], object], *, events: int | None, rate: float | None
    ) -> None:
        super().__init__(name="orders", daemon=True)
        self.placed = 0
        self._place_order, self._events, self._rate = place_order, events, rate
        self._closed = threading.Event()
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether all orders are placed. Raises DemoFailed if placing one failed."""
        if self._error is not None:
            raise DemoFailed(f"order {self.placed + 1} was not placed: {self._error}")
        return self._events is not None and self.placed >= self._events

    def run(self) -> None:
        started = time.monotonic()
        try:
            while not self._closed.is_set() and not self.done:
                if self._rate is not None:
                    due = started + self.placed / self._rate
                    if self._closed.wait(max(0.0, due - time.monotonic())):
                        break
                self._place_order(self.placed + 1)
                self.placed += 1
        except Exception as error:
            self._error = error

    def close(self) -> None:
        """Place no more orders. Blocks until the last one is placed."""
        self._closed.set()
        if self.is_alive():
            self.join(10)
