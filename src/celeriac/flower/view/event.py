"""One event: its data, the attempts of each handler, its causes and its consequences."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace
from tornado.web import authenticated

from celeriac.dead_letter import ErasedData, restart_text
from celeriac.delivery import DeadLetter, Restart
from celeriac.flower.page import FlowerPage
from celeriac.flower.svg.attempts import Span, attempts_of, spans
from celeriac.flower.svg.causes import Drawing, draw
from celeriac.flower.view.dead import editable_document
from celeriac.tracking import UNFINISHED, Cell, DeliveryState, EventStatus, Located, Matrix, Tree

# The number of newest tasks in Flower's memory that are searched for tasks of an event.
MAX_TASKS = 20_000
REPEATABLE = frozenset(DeliveryState) - UNFINISHED


@dataclass(frozen=True, slots=True)
class HandlerPart:
    """One handler of the event. `document` is that of its dead letter, if the user may edit it."""

    cell: Cell
    spans: list[Span]
    dead_letter: DeadLetter | None
    document: str = ""

    @property
    def worker(self) -> str:
        """The worker that has the delivery, if no attempt shows it.

        The run of a delivery in a chunk begins at an unknown time, so it has no attempt yet.
        """
        shown = any(span.attempt.worker == self.cell.worker for span in self.spans)
        return "" if shown else self.cell.worker or ""

    @property
    def is_unresolved(self) -> bool:
        """Whether the handler did not process the event, and no edited event replaces it."""
        return self.cell.state in (DeliveryState.DEAD, DeliveryState.MISSING) and not self.edits

    @property
    def edits(self) -> list[Restart]:
        """The edited events that replace this event."""
        return [restart for restart in self.cell.restarts if restart.edited]

    @property
    def may_repeat(self) -> bool:
        return self.cell.state in REPEATABLE


@dataclass(frozen=True, slots=True)
class EventContent:
    """The content of the page. `others` are events with the same id."""

    event: EventStatus
    others: list[Located]
    parts: list[HandlerPart]
    tree: Tree
    now_ms: int

    @property
    def drawing(self) -> Drawing:
        return draw(self.tree.nodes)


class EventDetailPage(FlowerPage):
    name = "event"

    @authenticated
    async def get(self, event_id: str) -> None:
        near = self.parameter("at") or ""
        deep = self.parameter("deep") is not None
        may_edit = not self.may_edit
        read = await self.call(read_event, self.matrix, event_id, near, deep, may_edit)
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
        """Return the tasks of each handler that Flower has in memory, the newest first.

        Runs on Flower's own loop, which also writes them.
        """
        uuids: dict[str, list[str]] = {}
        tasks = self.application.events.state.tasks_by_time(limit=MAX_TASKS)
        for uuid, task in tasks:
            if task.parent_id == event_id and task.name:
                uuids.setdefault(task.name, []).append(uuid)
        return uuids

    def _worker(self, name: str) -> str:
        """Return the name of the worker's page in Flower, or ''. `name` is `node/process`."""
        node = name.partition("/")[0]
        return node if node in self.known_workers else ""


def read_event(
    matrix: Matrix, event_id: str, near: str, deep: bool, may_edit: bool = False
) -> EventContent:
    """Return the content of the page. Blocks.

    Raises NotFound. Searches the full log only if `deep`.
    """
    located, *others = matrix.find_all(event_id, near=near, deep=deep)
    status = matrix.status_of(located)
    if (erased := ErasedData(matrix.backend).text_of(located.event)) is not None:
        status = replace(status, data=erased)
    now = matrix.backend.registry.now_ms()
    by_handler = {cell.handler: attempts_of(cell, status.time_ms, now) for cell in status.cells}
    ends = [attempt.ended_ms for attempts in by_handler.values() for attempt in attempts]
    end = max([*ends, float(status.time_ms + 1)])
    parts = []
    for cell in status.cells:
        dead_letter = _dead_letter_of(matrix, status, cell)
        document = editable_document(dead_letter, matrix) if may_edit and dead_letter else ""
        drawn = spans(by_handler[cell.handler], status.time_ms, end)
        parts.append(HandlerPart(cell, drawn, dead_letter, document))
    return EventContent(status, others, parts, matrix.causes(located), now)


def _dead_letter_of(matrix: Matrix, status: EventStatus, cell: Cell) -> DeadLetter | None:
    """Return the dead letter of a delivery, which has its traceback."""
    if cell.state is not DeliveryState.DEAD or cell.at_ms is None:
        return None
    deliveries = matrix.backend.deliveries
    for dead_letter in deliveries.dead(status.domain, after=f"{cell.at_ms - 1}-0", count=100):
        if dead_letter.handler == cell.handler and dead_letter.event_key == status.key:
            return dead_letter
    return None
