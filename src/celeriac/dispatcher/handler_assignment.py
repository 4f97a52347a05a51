"""Which of a service's handlers this worker runs, and which ones no worker runs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from celeriac.dispatcher.versions import LIVES_WITHIN_MS
from celeriac.handler import Handler
from celeriac.registry import WorkerRecord


def served_handlers(
    handlers: Iterable[Handler], queues: Collection[str] | None, removed: Collection[str] = ()
) -> list[Handler]:
    """Return the handlers whose queue is consumed, the most urgent first, which are fetched first.

    `queues` is None if all queues are consumed; `removed` are handlers that an operator removed.
    """
    return sorted(
        (h for h in handlers if (queues is None or h.queue in queues) and h.id not in removed),
        key=lambda h: (-h.priority, h.id),
    )


class UnservedHandlers:
    """The handlers that no worker runs, neither this one nor another."""

    def __init__(self) -> None:
        self._missed: frozenset[str] = frozenset()
        self._reported: frozenset[str] = frozenset()

    def check(
        self, elsewhere: Collection[Handler], workers: Iterable[WorkerRecord], now_ms: int
    ) -> list[Handler]:
        """Return the handlers of `elsewhere` that had no living worker at the last check and still
        have none, each once until a worker runs it.

        Returns none at the first check: workers that start together detect each other at the next.
        """
        living = (worker for worker in workers if now_ms - worker.beat_ms <= LIVES_WITHIN_MS)
        served = {handler for worker in living for handler in worker.handlers}
        missed = frozenset(h.id for h in elsewhere if h.id not in served)
        due = (missed & self._missed) - self._reported
        self._missed, self._reported = missed, (self._reported & missed) | due
        return [h for h in elsewhere if h.id in due]
