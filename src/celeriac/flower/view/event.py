"""One event: its data, each handler with each attempt, what caused it and what it led to."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import authenticated

from celeriac.dead_letter import restart_text
from celeriac.delivery import DeadLetter, Restart
from celeriac.flower.page import Page
from celeriac.flower.svg.attempts import Span, attempts_of, spans
from celeriac.flower.svg.causes import Picture, picture
from celeriac.tracking import UNFINISHED, Cell, DeliveryState, EventStatus, Located, Matrix, Tree

# Of the tasks in Flower's memory, the newest are searched for those of an event.
MOST_TASKS = 20_000
REPEATABLE = frozenset(DeliveryState) - UNFINISHED


@dataclass(frozen=True, slots=True)
class Part:
    """One handler's part in the event."""

    cell: Cell
    spans: list[Span]
    letter: DeadLetter | None

    @property
    def worker(self) -> str:
        """The worker that has the delivery, where no attempt shows it: the run of a delivery in a
        chunk begins at an unknown time."""
        shown = any(span.attempt.worker == self.cell.worker for span in self.spans)
        return "" if shown else self.cell.worker or ""

    @property
    def is_unresolved(self) -> bool:
        """Whether the handler did not get to it, and no edited event stands for it."""
        return self.cell.state in (DeliveryState.DEAD, DeliveryState.MISSING) and not self.edits

    @property
    def edits(self) -> list[Restart]:
        """What stands for this event since it was edited as a dead letter."""
        return [one for one in self.cell.restarts if one.edited]

    @property
    def may_repeat(self) -> bool:
        return self.cell.state in REPEATABLE


@dataclass(frozen=True, slots=True)
class Read:
    """All that the page shows, read at once. `others` have the same id, and another source or
    domain."""

    event: EventStatus
    others: list[Located]
    parts: list[Part]
    tree: Tree
    now_ms: int

    @property
    def picture(self) -> Picture:
        return picture(self.tree.nodes)


class EventPage(Page):
    name = "event"

    @authenticated
    async def get(self, event_id: str) -> None:
        near = self.asked("at") or ""
        deep = self.asked("deep") is not None
        read = await self.call(read_event, self.matrix, event_id, near, deep)
        self.show(
            read=read,
            event=read.event,
            tasks=self._tasks(event_id),
            worker_of=self._worker,
            explain_url=self.explain_url,
            restart_text=restart_text,
            live_url=self.get_live_url(),
        )

    def _tasks(self, event_id: str) -> dict[str, list[str]]:
        """Handler → its tasks that Flower remembers, the last first. On Flower's own loop, which is
        where it writes them."""
        found: dict[str, list[str]] = {}
        tasks = self.application.events.state.tasks_by_time(limit=MOST_TASKS)
        for uuid, task in tasks:
            if task.parent_id == event_id and task.name:
                found.setdefault(task.name, []).append(uuid)
        return found

    def _worker(self, name: str) -> str:
        """The name of a worker's page in Flower, if it has one: a worker of the bus is called
        `node/process`."""
        node = name.partition("/")[0]
        return node if node in self.application.workers else ""


def read_event(matrix: Matrix, event_id: str, near: str, deep: bool) -> Read:
    """Blocks. Raises NotFound; only where it is `deep` the whole log is searched."""
    located, *others = matrix.find_all(event_id, near=near, deep=deep)
    status = matrix.status_of(located)
    now = matrix.backend.registry.now_ms()
    by_handler = {cell.handler: attempts_of(cell, status.time_ms, now) for cell in status.cells}
    ends = [one.ended_ms for attempts in by_handler.values() for one in attempts]
    end = max([*ends, float(status.time_ms + 1)])
    parts = [
        Part(
            cell,
            spans(by_handler[cell.handler], status.time_ms, end),
            _letter(matrix, status, cell),
        )
        for cell in status.cells
    ]
    return Read(status, others, parts, matrix.causes(located), now)


def _letter(matrix: Matrix, status: EventStatus, cell: Cell) -> DeadLetter | None:
    """The dead letter of a delivery, which has its traceback. It was written when the row was."""
    if cell.state is not DeliveryState.DEAD or cell.at_ms is None:
        return None
    deliveries = matrix.backend.deliveries
    for letter in deliveries.dead(status.domain, after=f"{cell.at_ms - 1}-0", count=100):
        if letter.handler == cell.handler and letter.event_key == status.key:
            return letter
    return None
