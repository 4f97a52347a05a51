"""Any interleaving of events of three domains, duplicates, timers and kills keeps the promises.

A model runs with the process: it has the effects of each committed step. The process is killed at
each statement of its transaction, before it and after the commit.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool

from celeriac import Event, EventBus
from celeriac.event import current_event
from celeriac.outbox.database import Database, open_database
from celeriac.process import Process, Status, create_processes, on, reminded, starts
from celeriac.process import memory as process_memory
from celeriac.process.query import InstanceHistory, history
from celeriac.testing import in_memory
from celeriac.testing.store import SimulatedCrash

KEYS = ("order-1", "order-2", "order-3")
TYPES = ("order.placed", "order.paused", "payment.captured", "payment.failed", "parcel.sent")
WAIT = 3600


class Killed(SystemExit, SimulatedCrash):
    """The death of the pool process: no exception handler of the executor keeps it."""


class Interleavings(RuleBasedStateMachine):
    """One process on one store. `on_disk` selects SQLite."""

    on_disk: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.database: Database | None = None
        self.deadly = -1  # statements until the kill; -1 for none
        self.sent: list[tuple[str, str, str]] = []
        self.fired: list[tuple[str, str, str]] = []  # key, timer, event id
        inbox = self._store()
        self.bus = EventBus(service="orders", redis_url="redis://127.0.0.1:1/0")
        self.process = self.bus.process(self._process(inbox), retries=50)
        self.memory = self.stack.enter_context(in_memory(self.bus, databases=self.on_disk))

    def teardown(self) -> None:
        self.stack.close()

    def _store(self) -> Any:
        if not self.on_disk:
            patch = self.stack.enter_context(pytest.MonkeyPatch.context())
            # Emits and commit are one there: nothing is between them.
            for name in ("lock", "save"):
                call = getattr(process_memory.MemoryTransaction, name)
                patch.setattr(process_memory.MemoryTransaction, name, self._deadly(call))
            return create_engine("sqlite:////nonexistent/no.sqlite")
        # In memory where there is such a file system: the test is about order, not about disks.
        shm = "/dev/shm" if Path("/dev/shm").is_dir() else None
        directory = self.stack.enter_context(tempfile.TemporaryDirectory(dir=shm))
        url = f"sqlite:///{Path(directory) / 'shop.sqlite'}"
        engine = create_engine(url, poolclass=NullPool)
        create_processes(engine)
        self.database = open_database(url)
        self.stack.callback(self.database.close)
        # Every statement, and the commit itself.
        event.listen(engine, "before_cursor_execute", lambda *_: self._step())
        event.listen(engine, "commit", lambda _: self._step())
        return engine

    def _deadly(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def deadly(*arguments: Any, **options: Any) -> Any:
            self._step()
            return call(*arguments, **options)

        return deadly

    def _step(self) -> None:
        if self.deadly == 0:
            self.deadly = -1
            raise Killed
        self.deadly -= self.deadly > 0

    def _process(self, inbox: Any) -> type[Process[dict[str, int]]]:
        machine = self

        class Fulfilment(Process[dict[str, int]], inbox=inbox, wait=WAIT):
            @starts("order.placed")
            def placed(self, event: Event) -> None:
                self.state["placed"] = self.state.get("placed", 0) + 1
                self.emit("asked.payment", {"by": event.id}, undo=("undo.payment", event.id))
                self.remind("unpaid", after=1000)

            @on("order.paused")
            def paused(self, event: Event) -> None:
                self.forget("unpaid")
                self.emit("asked.pause", {"by": event.id}, undo=("undo.pause", event.id))

            @on("payment.captured")
            def paid(self, event: Event) -> None:
                self.state["paid"] = self.state.get("paid", 0) + 1
                self.remind("unpaid", after=2000)
                self.emit("asked.parcel", {"by": event.id}, undo=("undo.parcel", event.id))

            @on("payment.failed")
            def failed(self, event: Event) -> None:
                self.abort("failed")

            @on("parcel.sent")
            def sent(self, event: Event) -> None:
                self.complete()

            @reminded("unpaid")
            def unpaid(self) -> None:
                handled = current_event()
                assert handled is not None
                machine.fired.append((self.key, "unpaid", handled.id))
                self.abort("unpaid")

        return Fulfilment

    @initialize(keys=st.sampled_from((KEYS, KEYS[:2])))
    def place(self, keys: tuple[str, ...]) -> None:
        """Without a start there is little to see."""
        for key in keys:
            self.emit("order.placed", key)

    @rule(type=st.sampled_from(TYPES), key=st.sampled_from(KEYS))
    def emit(self, type: str, key: str) -> None:
        id = f"e{len(self.sent)}"
        self.sent.append((type, key, id))
        self.bus.emit(type, None, subject=key, id=id)

    @precondition(lambda self: self.sent)
    @rule(number=st.integers(0, 1000))
    def emit_again(self, number: int) -> None:
        """A producer that got no answer."""
        type, key, id = self.sent[number % len(self.sent)]
        self.bus.emit(type, None, subject=key, id=id)

    @rule(statements=st.integers(0, 12), seed=st.integers(0, 9))
    def run_and_die(self, statements: int, seed: int) -> None:
        self.deadly = statements
        self.memory.run_until_idle(jump=False, shuffle=seed)
        self.deadly = -1

    @rule(seed=st.integers(0, 9))
    def die_before_the_report(self, seed: int) -> None:
        self.memory.crash_before_ack()
        self.memory.run_until_idle(jump=False, shuffle=seed)
        self.memory.store.deliveries.crashes = 0

    @rule(seconds=st.sampled_from((1, 50, 200)))
    def time_passes(self, seconds: int) -> None:
        """Timers expire, and their events are in the event log before the next run."""
        self.memory.advance(seconds)
        self.memory._expire_timers()

    @rule(type=st.sampled_from(TYPES[1:3]), key=st.sampled_from(KEYS), seed=st.integers(0, 9))
    def timer_races_an_event(self, type: str, key: str, seed: int) -> None:
        """The event of an expired timer, and the event that forgets or sets it, wait together."""
        self.memory.run_until_idle(jump=False)
        self.memory.advance(1000)
        self.memory._expire_timers()
        self.emit(type, key)
        self.memory.run_until_idle(jump=False, shuffle=seed)

    @rule(seed=st.integers(0, 9))
    def run(self, seed: int) -> None:
        self.memory.run_until_idle(jump=False, shuffle=seed)

    @rule()
    def deliver_again(self) -> None:
        self.memory.redeliver_all()

    @invariant()
    def keeps_the_promises(self) -> None:
        histories = {key: found for key in KEYS if (found := self._history(key)) is not None}
        self._check_fired(histories)
        for key, found in histories.items():
            self._check(key, found)
        # Events of one step have one id each, and were emitted once.
        committed = Counter(
            id for found in histories.values() for step in found.steps for _, id in step.emitted
        )
        assert set(committed.values()) <= {1}
        emitted = Counter(
            event.id for event in self.memory.emitted if event.domain in ("asked", "undo")
        )
        assert set(emitted.values()) <= {1}
        assert emitted.keys() <= committed.keys()

    def _check(self, key: str, found: InstanceHistory) -> None:
        """Replay the steps: state, timers and undo follow from the events that were handled."""
        undo: list[str] = []
        timers: dict[str, int] = {}
        handled: list[str] = []
        for position, step in enumerate(found.steps):
            assert step.seq == position + 1
            assert step.event_id not in handled
            handled.append(step.event_id)
            asked = [type for type, _ in step.emitted if type.startswith("asked.")]
            undone = [type for type, _ in step.emitted if type.startswith("undo.")]
            undo += [type.replace("asked.", "undo.") for type in asked]
            if step.event_type == "process.reminded":
                # A timer fires only while it is set, and not before the time that was set last.
                assert step.at_ms >= timers.pop("unpaid")
            for name in step.forgotten:
                del timers[name]
            timers |= dict(step.reminders)
            ended = step.status is not Status.OPEN
            assert ended == (position == len(found.steps) - 1 and found.instance.status != "open")
            assert undone == (undo[::-1] if step.status is Status.ABORTED else [])
        assert {name: timer.at_ms for name, timer in found.instance.timers.items()} == timers
        assert found.steps[0].event_type == "order.placed"

    def _check_fired(self, histories: dict[str, InstanceHistory]) -> None:
        for found in histories.values():
            reminded = [s for s in found.steps if s.event_type == "process.reminded"]
            assert len(reminded) <= 1

    def _history(self, key: str) -> InstanceHistory | None:
        if self.database is not None:
            return history(self.database, "orders.fulfilment", key)
        instance = self.memory.processes.instances.get(("orders.fulfilment", key))
        if instance is None:
            return None
        steps = self.memory.processes.steps["orders.fulfilment", key]
        return InstanceHistory(instance, tuple(steps))

    def _finish(self) -> None:
        """Run everything to its end: every event that is due to an instance has been handled."""
        self.memory.run_until_idle()
        self.keeps_the_promises()
        for key in KEYS:
            found = self._history(key)
            placed = {id for type, k, id in self.sent if (type, k) == ("order.placed", key)}
            assert (found is not None) == bool(placed)
            if found is None:
                continue
            # With the clock run out, a timer has fired or the instance has ended.
            assert not found.instance.timers
            if found.instance.status is Status.OPEN:
                handled = {step.event_id for step in found.steps}
                assert {id for _, k, id in self.sent if k == key} == handled
        committed = {
            id
            for key in KEYS
            if (found := self._history(key)) is not None
            for step in found.steps
            for _, id in step.emitted
        }
        emitted = [e.id for e in self.memory.emitted if e.domain in ("asked", "undo")]
        assert sorted(emitted) == sorted(committed)


class InMemory(Interleavings):
    def teardown(self) -> None:
        self._finish()
        super().teardown()


class OnDisk(Interleavings):
    on_disk = True

    def teardown(self) -> None:
        self._finish()
        super().teardown()


InMemory.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
OnDisk.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestInMemory = InMemory.TestCase
TestOnDisk = OnDisk.TestCase
