"""A fair share of the processes: a slow handler never holds all of them while others may need one.

Handlers of a service share its pools. A hint of a fast handler ends within moments; that of a slow
one holds its process for as long as the handler runs. So slow handlers together leave some
processes of each worker free (`spare_processes`), and what they may not have stays in the log.
Pure: the ledger tells how many deliveries a handler has queued or running over all workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from celeriac.ledger import Lane
from celeriac.registry import WorkerRecord
from celeriac.settings import Settings
from celeriac.subscription import Handler

SLOW_CHUNKS = 4  # times `chunk_time`: who holds a process for longer is slow
PUT_OFF_FOR_OTHERS_MS = 50


class Share:
    """What one dispatcher knows of its handlers and of the service's workers."""

    def __init__(self, settings: Settings) -> None:
        self._slow_us = SLOW_CHUNKS * settings.chunk_time * 1e6
        self._mean: dict[str, dict[Lane, int]] = {}
        self._held: dict[str, dict[Lane, int]] = {}
        # Sums of what is held, kept with each change: they are asked for at every turn.
        self._held_by: Counter[str] = Counter()
        self._held_by_slow = 0
        self._served: dict[Lane, int] = {}
        self._serial = 0
        # Handler → how many processes slow handlers may hold, of those that serve it.
        self.processes: Mapping[str, int] = {}
        self._slow: set[str] = set()

    def note(self, handler: Handler, lane: Lane, mean_us: int, held: int) -> bool:
        """What the ledger says of a lane; whether the handler has turned slow just now."""
        was = self.is_slow(handler.id)
        means = self._mean.setdefault(handler.id, {})
        means[lane] = mean_us * (handler.batch or 1)
        self._hold(lane, held)
        slow = max(means.values()) >= self._slow_us
        if slow and not was:
            self._slow.add(handler.id)
            self._held_by_slow += self._held_by[handler.id]
        elif was and not slow:
            self._slow.remove(handler.id)
            self._held_by_slow -= self._held_by[handler.id]
        return slow and not was

    def is_slow(self, handler: str) -> bool:
        return handler in self._slow

    def room(self, handler: Handler, lane: Lane) -> int | None:
        """How many more deliveries of the lane may be held; None for no bound but the usual one."""
        rooms = []
        if handler.concurrency is not None:
            rooms.append(handler.concurrency - self._held_by[handler.id])
        allowed = self.processes.get(handler.id, 0)
        if self._others(handler) and allowed > 0:
            if self.is_slow(handler.id):
                rooms.append(allowed - self._held_by_slow)
            elif not self._mean.get(handler.id, {}).get(lane):  # not measured yet: it may be slow
                rooms.append(allowed - self._held_by[handler.id])
        return max(0, min(rooms)) if rooms else None

    def held(self, lane: Lane) -> int:
        return self._held.get(lane.handler, {}).get(lane, 0)

    def holding(self, handler: str) -> list[Lane]:
        """The lanes whose deliveries stand in the way of the handler's, as far as is known."""
        others = self._slow if self.is_slow(handler) else {handler}
        held = (lanes for name in others for lanes in self._held.get(name, {}).items())
        return [lane for lane, events in held if events > 0]

    def took(self, lane: Lane, events: int) -> None:
        """So many more of the lane are held now, ahead of what the ledger says next."""
        self._hold(lane, self.held(lane) + events)
        self._serial += 1
        self._served[lane] = self._serial

    def turn_of(self, lane: Lane) -> int:
        """Slow handlers take turns: a number that is lower the longer it was not served."""
        return self._served.get(lane, 0) if self.is_slow(lane.handler) else 0

    def _others(self, handler: Handler) -> bool:
        """Whether there is another handler, and not all of them are slow: none would wait then."""
        return any(other != handler.id and other not in self._slow for other in self.processes)

    def _hold(self, lane: Lane, events: int) -> None:
        more = events - self.held(lane)
        self._held.setdefault(lane.handler, {})[lane] = events
        self._held_by[lane.handler] += more
        if self.is_slow(lane.handler):
            self._held_by_slow += more


def processes_for_slow(
    workers: Iterable[WorkerRecord], own: tuple[str, int], handlers: Iterable[str], spare: int
) -> Mapping[str, int]:
    """Handler → of the processes that serve it, in all workers, those that slow handlers may hold.

    `own` is this worker's name and number of processes, which may not have beaten yet.
    """
    name, processes = own
    served = dict.fromkeys(handlers, max(0, processes - spare))
    for worker in workers:
        if worker.name != name and worker.queues:
            for handler in served.keys() & set(worker.handlers):
                served[handler] += max(0, worker.processes - spare)
    return served
