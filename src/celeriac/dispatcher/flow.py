"""How many hints wait, so that under load few large ones travel and not many small ones. Pure.

Without it a busy handler would get a hint for every event the moment it comes, each at the cost of
a Celery task, and would fall behind for that cost alone. While enough hints wait to keep the
processes busy, what comes stays in the log, and travels together in the next one.
"""

from __future__ import annotations

from collections import deque

from celeriac.ledger import Lane

HINTS_AHEAD = 4  # for each process


class Flow:
    """What one dispatcher sent, lane by lane. Hints are taken in about the order they were sent."""

    def __init__(self) -> None:
        self._sent: dict[Lane, deque[int]] = {}
        self._events: dict[Lane, int] = {}
        self._waiting: dict[str, int] = {}

    def sent(self, lane: Lane, events: int) -> None:
        """A hint of so many events was sent."""
        self._sent.setdefault(lane, deque()).append(events)
        self._events[lane] = self._events.get(lane, 0) + events
        self._waiting[lane.handler] = self._waiting.get(lane.handler, 0) + 1

    def still_queued(self, lane: Lane, events: int) -> None:
        """The ledger says that so many events are not claimed yet: the latest ones sent."""
        hints = self._sent.get(lane)
        while hints and self._events[lane] - hints[0] >= events:
            self._events[lane] -= hints.popleft()
            self._waiting[lane.handler] -= 1

    def hints(self, handler: str) -> int:
        """How many hints of the handler wait in all its lanes, as far as this dispatcher knows."""
        return self._waiting.get(handler, 0)

    def lanes(self, handler: str) -> list[Lane]:
        """The lanes of the handler with hints that wait."""
        return [lane for lane, hints in self._sent.items() if hints and lane.handler == handler]
