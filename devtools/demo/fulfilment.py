"""The orders of the demo, read from the instances of their process in the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from celeriac.outbox.database import open_database
from celeriac.outbox.status import status as outbox_status
from celeriac.process import Status
from celeriac.process.query import counts, history, instances

PROCESS = "orders.fulfilment"
MAX_ORDERS = 1_000_000


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """Orders by status. `outbox` is the number of events that the relay has not published yet."""

    open: int = 0
    completed: int = 0
    aborted: int = 0
    outbox: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether all orders have ended, so no timer is set, and all their events are published."""
        return not self.open and not self.outbox

    @property
    def ended(self) -> str:
        """The orders that have ended, as text."""
        return f"{self.completed:,} completed, {self.aborted:,} aborted"

    def __str__(self) -> str:
        return f"{self.ended}, {self.open:,} open"


@dataclass(frozen=True, slots=True)
class OrderStory:
    """What happened to one order: `steps` are the handled events, and what each of them emitted."""

    key: str
    status: Status
    reason: str
    steps: Sequence[tuple[str, Sequence[str]]]


class Fulfilment:
    """Reads the instances. Every call blocks for queries."""

    def __init__(self, database_url: str) -> None:
        self._database = open_database(database_url)

    def counts(self) -> OrderCounts:
        """Return the number of orders, and of events in the outbox.

        The instances are read first: all that they emitted is then in the outbox, or published.
        """
        number = {count.status: count.number for count in counts(self._database)}
        return OrderCounts(
            open=number.get(Status.OPEN, 0),
            completed=number.get(Status.COMPLETED, 0),
            aborted=number.get(Status.ABORTED, 0),
            outbox=outbox_status(self._database).waiting,
        )

    def abort_reasons(self) -> Mapping[str, int]:
        """Return reason → number of aborted orders, the most frequent first."""
        aborted = instances(self._database, status=Status.ABORTED, limit=MAX_ORDERS)
        return dict(Counter(instance.reason for instance in aborted).most_common())

    def examples(self) -> list[OrderStory]:
        """Return the first completed order, and of the aborted ones the first with most steps."""
        completed = instances(self._database, status=Status.COMPLETED, limit=1)
        aborted = instances(self._database, status=Status.ABORTED, limit=100)
        chosen = [*completed, *sorted(aborted, key=lambda row: -row.steps)[:1]]
        return [self._story(row.key) for row in chosen]

    def _story(self, key: str) -> OrderStory:
        stored = history(self._database, PROCESS, key)
        assert stored is not None
        return OrderStory(
            key,
            stored.instance.status,
            stored.instance.reason,
            [(step.event_type, [type for type, _ in step.emitted]) for step in stored.steps],
        )
