"""Send delivery tasks, and count how many of them wait.

Without a limit, a busy handler would get a task for every event as soon as it arrives, and would
fall behind because of the cost of a Celery task for each. While enough tasks wait to keep the
processes busy, new entries stay in the log, and go together into the next task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from celeriac.dispatcher.chunk import Chunk
from celeriac.dispatcher.circuits import CircuitCache
from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.group_table import GroupTable
from celeriac.dispatcher.outage import is_logged
from celeriac.errors import BusUnavailable

logger = logging.getLogger(__name__)

Send = Callable[[Chunk], None]
TASKS_AHEAD = 4  # for each process


class TaskSender:
    """Belongs to one dispatcher. Tasks with open chunks are not counted: see OPEN_CHUNKS."""

    def __init__(
        self, send: Send, processes: int, groups: GroupTable, circuits: CircuitCache
    ) -> None:
        self._send, self._processes, self._groups, self._circuits = (
            send,
            processes,
            groups,
            circuits,
        )
        self._unsent: list[Chunk] = []
        self._failures = 0

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Send these chunks with the next call of `flush`."""
        self._unsent += chunks

    def drop(self, state: GroupState) -> None:
        """Drop the unsent chunks of the group: its deliveries are requeued."""
        self._unsent = [chunk for chunk in self._unsent if chunk.group != state.group]

    def flush(self) -> None:
        """Send the chunks. One that was not sent is sent again at the next call.

        Raises BusUnavailable if the broker does not accept them. A chunk that fails for another
        reason is logged, and does not hold up the others.
        """
        failed = 0
        while failed < len(self._unsent):
            chunk = self._unsent[failed]
            try:
                self._send(chunk)
            except BusUnavailable:
                raise
            except Exception:
                failed += 1
                self._log_failure(chunk)
            else:
                del self._unsent[failed]
                self._note_sent(chunk)
        if not failed:
            self._failures = 0

    def _log_failure(self, chunk: Chunk) -> None:
        self._failures += 1
        if is_logged(self._failures):
            logger.exception(
                "celeriac: a delivery task of %s cannot be sent; retrying", chunk.handler.id
            )

    def _note_sent(self, chunk: Chunk) -> None:
        state = self._groups.get(chunk.group)
        if state is not None and not chunk.id:
            note_sent(state, len(chunk.items))
        self._circuits.sent(chunk.handler.id)

    def has_enough(self, state: GroupState) -> bool:
        """Return whether the group's handler has as many waiting tasks as it may."""
        return state.of.waiting_tasks >= TASKS_AHEAD * self._processes

    def available_tasks(self, state: GroupState) -> int:
        """Return how many more tasks may wait; negative if too many do."""
        unsent = sum(chunk.handler.id == state.of.id for chunk in self._unsent if not chunk.id)
        return TASKS_AHEAD * self._processes - state.of.waiting_tasks - unsent


def note_sent(state: GroupState, deliveries: int) -> None:
    """Record a sent task with this many pending deliveries. Tasks run in about that order."""
    state.sent.append(deliveries)
    state.of.waiting_tasks += 1


def note_queued(state: GroupState, queued: int) -> None:
    """Record that this many deliveries are not claimed yet: the latest ones that were sent."""
    while state.sent and sum(state.sent) - state.sent[0] >= queued:
        state.sent.popleft()
        state.of.waiting_tasks -= 1
