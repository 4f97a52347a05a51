"""Share the processes fairly: a slow handler never occupies all of them while others need one.

Handlers of a service share its pools. A delivery task of a fast handler ends within moments; that
of a slow one occupies its process for as long as the handler runs. So slow handlers together leave
some processes of each worker free (`reserved_processes`), and their other deliveries stay in the
log. If no process can stay free, each worker runs one slow delivery at a time, so that a fast one
waits only for that. Pure: the delivery store counts how many deliveries of a handler are queued or
running, here and in all workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celeriac.delivery import FetchResult
from celeriac.dispatcher.group_state import OPEN_CHUNKS, GroupState, HandlerState, InFlight
from celeriac.registry import WorkerRecord
from celeriac.settings import Settings

SLOW_CHUNKS = 4  # times `chunk_time`: a handler that occupies a process for longer is slow
REQUEUE_FOR_OTHERS_MS = 50


class ProcessShare:
    """The shares of one dispatcher's handlers.

    `processes` maps each handler to how many of the processes that serve it slow handlers may
    occupy, `here` is that number for this worker; None for a dispatcher without a pool.
    """

    def __init__(self, settings: Settings) -> None:
        self._slow_us = SLOW_CHUNKS * settings.chunk_time * 1e6
        self._handlers: dict[str, HandlerState] = {}
        # Updated with each change, since it is read in every iteration.
        self._in_flight_slow = InFlight()
        self._serial = 0
        self.processes: Mapping[str, int] = {}
        self.here: int | None = None

    def handler(self, id: str) -> HandlerState:
        """Return the state of the handler."""
        return self._handlers.setdefault(id, HandlerState(id))

    def note(self, state: GroupState, result: FetchResult) -> bool:
        """Apply the store's reply for a group; return whether its handler has just become slow."""
        self._hold(state, result.in_flight, result.in_flight_here)
        return self.note_run_time(state, result.mean_us)

    def note_run_time(self, state: GroupState, mean_us: int) -> bool:
        """Apply the run time only; return as `note`."""
        state.mean_us = mean_us
        return self._set_slow(state, mean_us * (state.handler.batch or 1) >= self._slow_us)

    def drop(self, state: GroupState) -> None:
        """Forget the deliveries of a group that is no longer served here."""
        self._hold(state, 0, 0)
        self._set_slow(state, False)

    def is_slow(self, handler: str) -> bool:
        return self.handler(handler).is_slow

    def available_slots(self, state: GroupState) -> int | None:
        """Return how many more deliveries of the group may be in flight; None for no special
        limit."""
        slots, handler = [], state.handler
        if handler.concurrency is not None:
            slots.append(handler.concurrency - state.of.in_flight.everywhere)
        if self.reserves_processes(state):
            in_flight = self._in_flight_slow if state.of.is_slow else state.of.in_flight
            allowed = self.processes.get(handler.id, 0)
            if allowed > 0:
                slots.append(allowed - in_flight.everywhere)
            if self.here is not None:
                slots.append((self.here if allowed > 0 else 1) - in_flight.here)
        return max(0, min(slots)) if slots else None

    def reserves_processes(self, state: GroupState) -> bool:
        """Return whether the group must leave processes to others: others may need one, and it is
        slow or unmeasured. If more of an unmeasured group were queued, its tasks would be in the
        queue before tasks of other handlers."""
        return (state.of.is_slow or not state.mean_us) and self._others(state.of)

    def has_slot(self, state: GroupState, processes: int) -> bool:
        """Return whether this worker may open another chunk of the group. While the run time of its
        handler is unknown, others may need the processes before its first chunks are completed."""
        if not state.mean_us and self._others(state.of):
            return state.open_chunks < max(1, self.here or 0)
        return state.open_chunks < OPEN_CHUNKS * processes

    def takes_turns(self, state: GroupState) -> bool:
        """Return whether its handler is slow and takes turns with other slow handlers."""
        return state.of.is_slow and self._others(state.of)

    def holding(self, handler: HandlerState) -> list[GroupState]:
        """Return the groups whose deliveries probably occupy the handler's slots."""
        slow = [other for other in self._handlers.values() if other.is_slow]
        others = slow if handler.is_slow else [handler]
        return [
            state for other in others for state in other.groups if state.in_flight.everywhere > 0
        ]

    def took(self, state: GroupState, deliveries: int) -> None:
        """Add deliveries that are in flight now, before the store's next reply includes them."""
        self._hold(
            state, state.in_flight.everywhere + deliveries, state.in_flight.here + deliveries
        )
        self._serial += 1
        state.served = self._serial

    def turn_of(self, state: GroupState) -> int:
        """Return a sort key for turns of slow handlers: lower if the group was served longer
        ago."""
        return state.served if state.of.is_slow else 0

    def _others(self, handler: HandlerState) -> bool:
        """Return whether another handler is fast: without one, none would wait."""
        return any(other != handler.id and not self.is_slow(other) for other in self.processes)

    def _set_slow(self, state: GroupState, is_slow: bool) -> bool:
        """Set whether a group is slow; return whether this made its handler slow."""
        handler, was = state.of, state.of.is_slow
        handler.slow_groups += is_slow - state.is_slow
        state.is_slow = is_slow
        if handler.is_slow != was:
            sign = 1 if handler.is_slow else -1
            self._in_flight_slow.add(
                sign * handler.in_flight.everywhere, sign * handler.in_flight.here
            )
        return handler.is_slow and not was

    def _hold(self, state: GroupState, everywhere: int, here: int) -> None:
        more = everywhere - state.in_flight.everywhere, here - state.in_flight.here
        state.in_flight.add(*more)
        state.of.in_flight.add(*more)
        if state.of.is_slow:
            self._in_flight_slow.add(*more)


def processes_for_slow(
    workers: Iterable[WorkerRecord],
    this_worker: tuple[str, int],
    handlers: Iterable[str],
    spare: int,
) -> Mapping[str, int]:
    """Return handler → how many of the processes that serve it, in all workers, slow handlers may
    occupy. `this_worker` is the name and number of processes of this worker, which may not have
    sent a heartbeat yet."""
    name, processes = this_worker
    served = dict.fromkeys(handlers, max(0, processes - spare))
    for worker in workers:
        if worker.name != name and worker.queues:
            for handler in served.keys() & set(worker.handlers):
                served[handler] += max(0, worker.processes - spare)
    return served
