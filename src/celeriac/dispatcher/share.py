"""A fair share of the processes: a slow handler never holds all of them while others may need one.

Handlers of a service share its pools. A hint of a fast handler ends within moments; that of a slow
one holds its process for as long as the handler runs. So slow handlers together leave some
processes of each worker free (`spare_processes`), and what they may not have stays in the log.
Where no process can be left free, each worker has one slow delivery at a time, so that a fast one
waits for no more than that.
Pure: the ledger tells how many deliveries a handler has queued or running, here and in all workers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from celeriac.ledger import Lane, Taken
from celeriac.registry import WorkerRecord
from celeriac.settings import Settings
from celeriac.subscription import Handler

SLOW_CHUNKS = 4  # times `chunk_time`: who holds a process for longer is slow
PUT_OFF_FOR_OTHERS_MS = 50


@dataclass(slots=True)
class Held:
    """How many deliveries are queued or running: in all workers, and in this one."""

    everywhere: int = 0
    here: int = 0

    def add(self, everywhere: int, here: int) -> None:
        self.everywhere += everywhere
        self.here += here


class Share:
    """What one dispatcher knows of its handlers and of the service's workers."""

    def __init__(self, settings: Settings) -> None:
        self._slow_us = SLOW_CHUNKS * settings.chunk_time * 1e6
        self._mean: dict[str, dict[Lane, int]] = {}
        self._held: dict[str, dict[Lane, Held]] = {}
        # Sums of what is held, kept with each change: they are asked for at every turn.
        self._held_by: dict[str, Held] = defaultdict(Held)
        self._held_by_slow = Held()
        self._served: dict[Lane, int] = {}
        self._serial = 0
        # Handler → how many processes slow handlers may hold, of those that serve it.
        self.processes: Mapping[str, int] = {}
        # The same for this worker alone; None for a dispatcher that has no pool of its own.
        self.here: int | None = None
        self._slow: set[str] = set()

    def note(self, handler: Handler, lane: Lane, taken: Taken) -> bool:
        """What the ledger says of a lane; whether the handler has turned slow just now."""
        self._hold(lane, taken.held, taken.own)
        return self.note_run_time(handler, lane, taken.mean_us)

    def note_run_time(self, handler: Handler, lane: Lane, mean_us: int) -> bool:
        """The same for its run time alone."""
        was = self.is_slow(handler.id)
        means = self._mean.setdefault(handler.id, {})
        means[lane] = mean_us * (handler.batch or 1)
        slow, by = max(means.values()) >= self._slow_us, self._held_by[handler.id]
        if slow and not was:
            self._slow.add(handler.id)
            self._held_by_slow.add(+by.everywhere, +by.here)
        elif was and not slow:
            self._slow.remove(handler.id)
            self._held_by_slow.add(-by.everywhere, -by.here)
        return slow and not was

    def drop(self, lane: Lane) -> None:
        """The lane is not served here any more; what is held of it stands in nobody's way."""
        self._hold(lane, 0, 0)
        self._served.pop(lane, None)
        means = self._mean.get(lane.handler, {})
        means.pop(lane, None)
        if not means and lane.handler in self._slow:
            by = self._held_by[lane.handler]
            self._held_by_slow.add(-by.everywhere, -by.here)
            self._slow.remove(lane.handler)

    def is_slow(self, handler: str) -> bool:
        return handler in self._slow

    def room(self, handler: Handler, lane: Lane) -> int | None:
        """How many more deliveries of the lane may be held; None for no bound but the usual one."""
        rooms = []
        if handler.concurrency is not None:
            rooms.append(handler.concurrency - self._held_by[handler.id].everywhere)
        if self.leaves_room(handler, lane):
            slow = self.is_slow(handler.id)
            held = self._held_by_slow if slow else self._held_by[handler.id]
            allowed = self.processes.get(handler.id, 0)
            if allowed > 0:
                rooms.append(allowed - held.everywhere)
            if self.here is not None:
                rooms.append((self.here if allowed > 0 else 1) - held.here)
        return max(0, min(rooms)) if rooms else None

    def leaves_room(self, handler: Handler, lane: Lane) -> bool:
        """Whether it may not have all processes: others may need one, and it is slow, or was not
        measured yet. Were more of it queued until it is, their hints would stand in the queue
        before those of others, and run what is taken anew meanwhile."""
        measured = self._mean.get(handler.id, {}).get(lane)
        return (self.is_slow(handler.id) or not measured) and self._others(handler)

    def held(self, lane: Lane) -> int:
        """By all workers."""
        return self._held_of(lane).everywhere

    def holding(self, handler: str) -> list[Lane]:
        """The lanes whose deliveries stand in the way of the handler's, as far as is known."""
        others = self._slow if self.is_slow(handler) else {handler}
        held = (lanes for name in others for lanes in self._held.get(name, {}).items())
        return [lane for lane, one in held if one.everywhere > 0]

    def took(self, lane: Lane, events: int) -> None:
        """So many more of the lane are held now, ahead of what the ledger says next."""
        held = self._held_of(lane)
        self._hold(lane, held.everywhere + events, held.here + events)
        self._serial += 1
        self._served[lane] = self._serial

    def turn_of(self, lane: Lane) -> int:
        """Slow handlers take turns: a number that is lower the longer it was not served."""
        return self._served.get(lane, 0) if self.is_slow(lane.handler) else 0

    def _others(self, handler: Handler) -> bool:
        """Whether there is another handler, and not all of them are slow: none would wait then."""
        return any(other != handler.id and other not in self._slow for other in self.processes)

    def _held_of(self, lane: Lane) -> Held:
        return self._held.setdefault(lane.handler, {}).setdefault(lane, Held())

    def _hold(self, lane: Lane, everywhere: int, here: int) -> None:
        held = self._held_of(lane)
        more = everywhere - held.everywhere, here - held.here
        held.add(*more)
        self._held_by[lane.handler].add(*more)
        if self.is_slow(lane.handler):
            self._held_by_slow.add(*more)


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
