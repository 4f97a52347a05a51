"""The bus in memory: the real dispatcher and executor with a simulated clock, without Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from celeriac.bus import EventBus
from celeriac.default import default_bus
from celeriac.delivery import DeliveryState, Group, Outcome
from celeriac.delivery.run_record import RunOutcome
from celeriac.dispatcher import Chunk
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.event_log import entry_key
from celeriac.handler import Handler
from celeriac.process import Process
from celeriac.process.memory import MemoryProcesses
from celeriac.testing.captured import Captured
from celeriac.testing.database_relay import DatabaseRelay
from celeriac.testing.process_instance import ProcessInstance
from celeriac.testing.run_result import Dead, NeverIdle, RunResult
from celeriac.testing.store import SimulatedCrash, Store, recorded
from celeriac.testing.unfinished import MAX_READ, next_time_ms, unfinished
from celeriac.testing.worker import MemoryWorker

HandlerName = str | Callable[..., Any]


@contextmanager
def in_memory(*buses: EventBus, databases: bool = False) -> Iterator[MemoryBus]:
    """Run the services of these buses on one bus in memory; without arguments, the default bus.

    In the `with` block, every bus of the process emits into it. Handlers of the given buses run in
    `run_until_idle`. Nothing reaches Redis or a broker. Afterwards, everything is as before.

    Processes (`bus.process`) keep their instances in memory. With `databases=True` they use the
    databases of their inboxes, whose timers and events are relayed.
    """
    served = buses or (default_bus(),)
    memory = MemoryBus(Store(served[0].settings), served)
    with ExitStack() as stack:
        stack.enter_context(memory.store.installed())
        if databases:
            memory.relay = DatabaseRelay(served, memory.store.event_log)
            stack.callback(memory.relay.close)
        else:
            stack.enter_context(memory.processes.installed())
        memory.join()
        yield memory


class MemoryBus:
    """Several services on one bus in memory. `in_memory` makes it.

    Attributes:
        emitted: All events emitted on it.
        processes: The instances of processes. See `instance`.
    """

    def __init__(self, store: Store, buses: tuple[EventBus, ...]) -> None:
        self.store = store
        self.processes = MemoryProcesses()
        self.relay: DatabaseRelay | None = None
        self.emitted = Captured(store.event_log.emitted)
        self._workers = [MemoryWorker(bus) for bus in buses]
        self._errors: dict[tuple[str, str], BaseException] = {}
        store.event_log.before_emit = self.join
        store.replies.run = self._run_while

    def join(self) -> None:
        """Add handlers that were subscribed since. Every emit does it."""
        for worker in self._workers:
            worker.join()

    # -- running

    def run_until_idle(
        self, *, max_steps: int = 10_000, jump: bool = True, shuffle: int | None = None
    ) -> RunResult:
        """Run handlers until no delivery is left to run; return counts of what happened.

        The clock jumps to the time of scheduled deliveries and timers: retries, delays, rate
        limits, and timers of processes. With `jump=False` they stay scheduled. `shuffle` seeds a
        random order of deliveries, as several processes would run them. Exceptions become retries
        and dead letters, as in production: see `assert_no_dead`. Time limits are not enforced.

        Raises NeverIdle if deliveries are left after `max_steps` steps.
        """
        random = None if shuffle is None else Random(shuffle)
        result = RunResult()
        for _ in range(max_steps):
            # Also of domains that no handler reads, which no dispatcher looks at.
            self.store.event_log.enqueue_due_many(sorted(self.store.event_log.domains()))
            appended = self.store.event_log.appended
            self._expire_timers()
            sent = self._dispatch(random)
            for worker, chunk in sent:
                self._run(worker, chunk, random, result)
            broadcasts = sum(worker.broadcast() for worker in self._workers)
            is_idle = not (sent or broadcasts) and appended == self.store.event_log.appended
            if is_idle and not self._advance_to_next(jump):
                return result
        raise NeverIdle(max_steps, list(unfinished(self.store.backend, self._groups())))

    def advance(self, seconds: float | timedelta) -> None:
        """Advance the clock of the bus. Handlers run in `run_until_idle(jump=False)`."""
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        self.store.clock.advance(int(seconds * 1000))

    @property
    def now(self) -> datetime:
        """Return the time on the bus."""
        return datetime.fromtimestamp(self.store.clock.now_ms() / 1000, UTC)

    # -- results

    @property
    def dead(self) -> list[Dead]:
        """Return the dead letters, oldest first."""
        deliveries, event_log = self.store.deliveries, self.store.event_log
        dead_letters = [
            dead_letter
            for domain in sorted(event_log.domains())
            for dead_letter in deliveries.dead(domain, count=MAX_READ)
        ]
        return [
            Dead.of(dead_letter, self._errors.get((dead_letter.handler, dead_letter.event_key)))
            for dead_letter in sorted(dead_letters, key=lambda row: row.last_failed_ms)
        ]

    def assert_no_dead(self) -> None:
        """Fail if there are dead letters. The cause is the exception of the first one's handler."""
        __tracebackhide__ = True
        dead = self.dead
        if dead:
            lines = "\n".join(f"  {delivery}" for delivery in dead[:20])
            raise AssertionError(f"dead letters:\n{lines}") from dead[0].exception

    def processed(self, handler: HandlerName) -> Captured:
        """Return the events that the handler processed, in the order of their emits."""
        done = [pair for group in self._groups_of(handler) for pair in self._done_in(group)]
        done.sort(key=lambda pair: entry_key(pair[0]))
        return Captured([recorded(body) for _, body in done])

    def instance(self, process: type[Process[Any]], key: str) -> ProcessInstance:
        """Return the instance of a process. Raises LookupError if there is none."""
        return ProcessInstance.of(self.processes, process, key)

    # -- faults

    def redeliver_all(self, handler: HandlerName | None = None) -> int:
        """Schedule every processed delivery again, as if workers had crashed before their report.

        `run_until_idle` then runs them. A handler is idempotent if nothing differs afterwards.
        Returns the number of deliveries.
        """
        groups = self._groups() if handler is None else self._groups_of(handler)
        return sum(
            self.store.deliveries.replay(group, [(entry, read_header(body).key)])
            for group in groups
            for entry, body in self._done_in(group)
        )

    def duplicate_all(self) -> int:
        """Append every event again with its id, as a producer does that got no answer.

        Returns the number of events. The same id is one event: no handler runs again.
        """
        sent = [
            emit
            for emit in self.store.event_log.emitted
            if emit.delay_ms is None and emit.at_ms is None
        ]
        with self.store.event_log.silence():
            for emit in sent:
                self.store.event_log.append(emit.event.domain, emit.body)
        return len(sent)

    def crash_before_ack(self, times: int = 1) -> None:
        """Let the process die between a handler's end and its report, the next `times` times.

        `run_until_idle` continues when the lease expires, as another worker would.
        """
        self.store.deliveries.crashes += times

    def _dispatch(self, random: Random | None) -> list[tuple[MemoryWorker, Chunk]]:
        """Run the dispatchers. They report entries that no handler runs: no crash is due there."""
        crashes, self.store.deliveries.crashes = self.store.deliveries.crashes, 0
        try:
            return [(w, chunk) for w in self._workers for chunk in w.dispatch(random)]
        finally:
            self.store.deliveries.crashes = crashes

    def _run(
        self, worker: MemoryWorker, chunk: Chunk, random: Random | None, result: RunResult
    ) -> None:
        try:
            report = worker.run(chunk, random)
        except SimulatedCrash:
            result.crashed += 1
            worker.restart()
            return
        result.add(report)
        for failure in report.failures:
            if failure.outcome is Outcome.DEAD:
                self._errors[chunk.handler.id, failure.event_key] = failure.error

    def _run_while(self, seconds: float, waits: Callable[[], bool]) -> None:
        """Run handlers until `waits` is false, or the clock was advanced by so many seconds."""
        end_ms = self.store.clock.now_ms() + int(seconds * 1000)
        while waits():
            self.run_until_idle(jump=False)
            if not waits():
                return
            next_ms = next_time_ms(
                self.store.backend, self._groups(), self.store.deliveries.lease_ms
            )
            now = self.store.clock.now_ms()
            until_ms = end_ms if next_ms is None else min(end_ms, next_ms)
            self.store.clock.advance(max(0, until_ms - now))
            if now >= end_ms:
                return

    def _advance_to_next(self, jump: bool) -> bool:
        """Advance the clock to the next runnable delivery; return False if there is none."""
        store = self.store
        delivery_ms = next_time_ms(store.backend, self._groups(), store.deliveries.lease_ms)
        times = (delivery_ms, (self.relay or self.processes).next_timer_ms())
        time_ms = min((time for time in times if time is not None), default=None)
        if time_ms is None:
            return False
        ahead = time_ms - store.clock.now_ms()
        if ahead > 0:
            if not jump:
                return False
            store.clock.advance(ahead)
        return True

    def _expire_timers(self) -> None:
        """Append the events of expired timers, as the relay does."""
        now_ms = self.store.clock.now_ms()
        if self.relay is not None:
            self.relay.relay(now_ms)
        for row in self.processes.take_due(now_ms):
            with self.store.event_log.silence():
                self.store.event_log.append(row.domain, row.body)

    def _groups(self) -> dict[Group, Handler]:
        return {group: h for worker in self._workers for group, h in worker.groups.items()}

    def _groups_of(self, handler: HandlerName) -> list[Group]:
        groups = [g for g, h in self._groups().items() if handler in (h.id, h.name, h.function)]
        if not groups:
            known = ", ".join(sorted({group.handler for group in self._groups()}))
            raise LookupError(
                f"no handler {handler!r} is on this bus. The handlers are {known or 'none'}"
            )
        return groups

    def _done_in(self, group: Group) -> list[tuple[str, bytes]]:
        """Return the entries that the handler processed, with their bodies."""
        done = []
        for entry in self.store.event_log.read(group.domain, count=MAX_READ):
            with suppress(InvalidEvent):
                body = entry.body or b""
                row = self.store.deliveries.rows(group, [read_header(body).key])[0]
                run = self.store.backend.chunks.runs(group, [entry.id])[0]
                by_row = row and row.entry == entry.id and row.state is DeliveryState.PROCESSED
                in_chunk = row is None and run and run.outcome is RunOutcome.PROCESSED
                if by_row or in_chunk:
                    done.append((entry.id, body))
        return done
