"""Instances in memory, for tests: the same promises, kept until the process ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar

from celeriac.event import Event, event_key
from celeriac.process.instance import Instance, ProcessStep, StepChanges, TimerRecord
from celeriac.process.store import ProcessStore

InstanceKey = tuple[str, str]


class MemoryProcesses:
    """The instances, their timers, and the inbox of all processes of a test.

    While one is installed, processes use it instead of their databases.
    """

    current: ClassVar[MemoryProcesses | None] = None

    def __init__(self) -> None:
        self.instances: dict[InstanceKey, Instance] = {}
        self.timers: dict[tuple[str, str, str], TimerRecord] = {}
        self.steps: dict[InstanceKey, list[ProcessStep]] = {}
        self._handled: set[tuple[str, str, str]] = set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make all processes use these instances, within a `with` block."""
        before, MemoryProcesses.current = MemoryProcesses.current, self
        try:
            yield
        finally:
            MemoryProcesses.current = before

    def receive(
        self, handler: str, event: Event[Any], run: Callable[[Event[Any], ProcessStore], None]
    ) -> None:
        """Run the event in a transaction, unless the handler has handled it."""
        handled = (handler, event_key(event.id, event.source), event.domain)
        if handled in self._handled:
            return
        transaction = MemoryTransaction(self)
        run(event, transaction)
        transaction.commit()
        self._handled.add(handled)

    def next_timer_ms(self) -> int | None:
        """Return when the next timer expires; None if none is set."""
        return min((row.at_ms for row in self.timers.values()), default=None)

    def take_due(self, now_ms: int) -> list[TimerRecord]:
        """Remove and return the expired timers, oldest first, as the relay does."""
        due = {at: row for at, row in self.timers.items() if row.at_ms <= now_ms}
        for at in due:
            del self.timers[at]
        return sorted(due.values(), key=lambda row: row.at_ms)


class MemoryTransaction:
    """One transaction. See ProcessStore. Nothing changes before `commit`."""

    def __init__(self, processes: MemoryProcesses) -> None:
        self._processes = processes
        self._changes: list[StepChanges] = []

    def lock(self, handler: str, key: str, *, insert: bool, now_ms: int) -> Instance | None:
        instances = self._processes.instances
        instance = instances.get((handler, key))
        if instance is None:
            return None
        if instance.has_expired(now_ms):
            del instances[handler, key]
            self._processes.steps.pop((handler, key), None)
            return None
        return deepcopy(instance)

    def save(self, changes: StepChanges) -> None:
        self._changes.append(changes)

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        raise NotImplementedError("on a bus in memory, events are emitted directly")

    def commit(self) -> None:
        """Apply the changes."""
        for changes in self._changes:
            instance, timers = changes.instance, self._processes.timers
            at = instance.handler, instance.key
            self._processes.instances[at] = instance
            self._processes.steps.setdefault(at, []).append(changes.step)
            for name in changes.removed_timers:
                timers.pop((*at, name), None)
            for row in changes.set_timers:
                timers[(*at, row.name)] = row
