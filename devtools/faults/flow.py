"""A stream of events that keeps the workers busy while faults are injected."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

BATCH = 20
DEPTH = 80  # deliveries that are to lie before the workers
MAX_DELIVERIES = 4000  # deliveries of one flow
IDLE = 0.02
STALLED = 50  # times IDLE without an execution


def new_ids(count: int) -> list[str]:
    return [f"{n:05d}-{secrets.token_hex(4)}" for n in range(count)]


class EventStream:
    """Publishes until the end of its `with` block, BATCH at a time, as fast as workers take them.

    Raises at the end what publishing raised.
    """

    def __init__(
        self,
        publish: Callable[[Sequence[str]], int],
        begun: Callable[[], int],
        depth: int,
        *,
        loses: bool,
    ) -> None:
        self._publish, self._begun, self._depth, self._loses = publish, begun, depth, loses
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="flow", daemon=True)

    def __enter__(self) -> EventStream:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join(60)
        if self._thread.is_alive() and error is None:
            raise TimeoutError("the publisher hangs")
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        published = idle = 0
        before = begun = self._begun()
        try:
            while not self._stopped.is_set() and published < MAX_DELIVERIES:
                # A lost event never begins. If events may be lost and none begins, publish more,
                # whatever the backlog is.
                idle = idle + 1 if begun == self._begun() else 0
                begun = self._begun()
                if published - (begun - before) < self._depth or (self._loses and idle >= STALLED):
                    published += self._publish(new_ids(BATCH))
                    idle = 0
                else:
                    self._stopped.wait(IDLE)
        except BaseException as error:
            self._error = error
