"""A fair share of the processes: a slow handler never holds all of them while others may need one.

Handlers of a service share its pools. A hint of a fast handler ends within moments; that of a slow
one holds its process for as long as the handler runs. So slow handlers together leave some
processes of each worker free (`reserved_processes`), and what they may not have stays in the log.
Where no process can be left free, each worker has one slow delivery at a time, so that a fast one
waits for no more than that.
Pure: the ledger tells how many deliveries a handler has queued or running, here and in all workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celeriac.delivery import FetchResult
from celeriac.dispatcher.group_state import OPEN_CHUNKS, GroupState, HandlerState, Held
from celeriac.registry import WorkerRecord
from celeriac.settings import Settings

SLOW_CHUNKS = 4  # times `chunk_time`: who holds a process for longer is slow
PUT_OFF_FOR_OTHERS_MS = 50


class Share:
    """Of the processes, among the handlers of one dispatcher: `processes` says for each handler how
    many slow ones may hold of those that serve it, `here` how many of this worker's; None for a
    dispatcher without a pool of its own."""

    def __init__(self, settings: Settings) -> None:
        self._slow_us = SLOW_CHUNKS * settings.chunk_time * 1e6
        self._handlers: dict[str, HandlerState] = {}
        # Kept with each change, since it is asked for at every turn.
        self._held_by_slow = Held()
        self._serial = 0
        self.processes: Mapping[str, int] = {}
        self.here: int | None = None

    def handler(self, id: str) -> HandlerState:
        """Return what is known of the handler."""
        return self._handlers.setdefault(id, HandlerState(id))

    def note(self, state: GroupState, taken: FetchResult) -> bool:
        """What the store answered of a group; whether its handler has turned slow just now."""
        self._hold(state, taken.in_flight, taken.in_flight_here)
        return self.note_run_time(state, taken.mean_us)

    def note_run_time(self, state: GroupState, mean_us: int) -> bool:
        """The same for its run time alone."""
        state.mean_us = mean_us
        return self._set_slow(state, mean_us * (state.handler.batch or 1) >= self._slow_us)

    def drop(self, state: GroupState) -> None:
        """The group is not served here any more, and what is held of it is in nobody's way."""
        self._hold(state, 0, 0)
        self._set_slow(state, False)

    def is_slow(self, handler: str) -> bool:
        return self.handler(handler).is_slow

    def room(self, state: GroupState) -> int | None:
        """Return how many more deliveries of the group may be held; None for no bound but the usual
        one."""
        rooms, handler = [], state.handler
        if handler.concurrency is not None:
            rooms.append(handler.concurrency - state.of.held.everywhere)
        if self.leaves_room(state):
            held = self._held_by_slow if state.of.is_slow else state.of.held
            allowed = self.processes.get(handler.id, 0)
            if allowed > 0:
                rooms.append(allowed - held.everywhere)
            if self.here is not None:
                rooms.append((self.here if allowed > 0 else 1) - held.here)
        return max(0, min(rooms)) if rooms else None

    def leaves_room(self, state: GroupState) -> bool:
        """Return whether it may not have all processes: others may need one, and it is slow, or was
        not measured yet. Were more of it queued until it is, their tasks would be in the queue
        before those of others, and run what is taken later meanwhile."""
        return (state.of.is_slow or not state.mean_us) and self._others(state.of)

    def has_room(self, state: GroupState, processes: int) -> bool:
        """Return whether this worker may open another chunk of the group. While the run time of its
        handler is unknown, others may need the processes before its first chunk is done."""
        is_unknown = not state.mean_us and self._others(state.of)
        return state.open_chunks < (1 if is_unknown else OPEN_CHUNKS * processes)

    def takes_turns(self, state: GroupState) -> bool:
        """Return whether its handler is slow, and takes turns with others that are."""
        return state.of.is_slow and self._others(state.of)

    def holding(self, handler: HandlerState) -> list[GroupState]:
        """Return the groups whose deliveries are in the way of the handler's, as it seems."""
        slow = [one for one in self._handlers.values() if one.is_slow]
        others = slow if handler.is_slow else [handler]
        return [state for one in others for state in one.groups if state.held.everywhere > 0]

    def took(self, state: GroupState, deliveries: int) -> None:
        """So many more of the group are held now, ahead of what the store says next."""
        self._hold(state, state.held.everywhere + deliveries, state.held.here + deliveries)
        self._serial += 1
        state.served = self._serial

    def turn_of(self, state: GroupState) -> int:
        """Slow handlers take turns: a number that is lower the longer it was not served."""
        return state.served if state.of.is_slow else 0

    def _others(self, handler: HandlerState) -> bool:
        """Whether there is another handler, and not all of them are slow: none would wait then."""
        return any(other != handler.id and not self.is_slow(other) for other in self.processes)

    def _set_slow(self, state: GroupState, is_slow: bool) -> bool:
        """Whether the handler was not slow before, and is now."""
        handler, was = state.of, state.of.is_slow
        handler.slow_groups += is_slow - state.is_slow
        state.is_slow = is_slow
        if handler.is_slow != was:
            sign = 1 if handler.is_slow else -1
            self._held_by_slow.add(sign * handler.held.everywhere, sign * handler.held.here)
        return handler.is_slow and not was

    def _hold(self, state: GroupState, everywhere: int, here: int) -> None:
        more = everywhere - state.held.everywhere, here - state.held.here
        state.held.add(*more)
        state.of.held.add(*more)
        if state.of.is_slow:
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
