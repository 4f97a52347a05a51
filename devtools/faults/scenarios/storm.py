"""Kills and freezes at random points of a long run of three workers that share its events."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from devtools.faults.apps.handlers import FAILS, FAILS_ONCE
from devtools.faults.fault import Fault
from devtools.faults.fault_window import FaultWindow
from devtools.faults.freezing import freeze_beside_store
from devtools.faults.testbed import Testbed
from devtools.faults.worker import Worker

TYPE = "churn.event"
WORKERS = 3
DEPTH = 300  # events that lie before the workers
FAILING_EVERY = 50  # events: 2 % fail, every other one of these each time, the others once
FROZEN_BEYOND = 1.5  # seconds beyond the lease
PROGRESS_WITHIN = 120.0  # seconds until the workers are at the next point


@dataclass(frozen=True, slots=True)
class Size:
    events: int
    kills: int
    freezes: int


QUICK, FULL = Size(4_000, 8, 3), Size(100_000, 31, 10)


class Publishing:
    """Publishes `events` in a thread, at most DEPTH ahead of the workers and up to `limit`.

    Without an error the end of the block waits for the last one."""

    def __init__(self, testbed: Testbed, events: int, chance: random.Random) -> None:
        self.limit = 0
        self._scene, self._events, self._chance = testbed, events, chance
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="publishing", daemon=True)

    def __enter__(self) -> Publishing:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.limit = self._events
        if kind is not None:
            self._stopped.set()
        self._thread.join(PROGRESS_WITHIN)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        plain = failing = 0
        try:
            while plain + failing < self._events and not self._stopped.is_set():
                ahead = self._scene.effect_count() + failing + DEPTH
                available = min(self.limit, self._events, ahead) - plain - failing
                if available <= 0:
                    time.sleep(0.01)
                elif failing * FAILING_EVERY < plain + failing:
                    once = failing % 2 == 0
                    data = FAILS_ONCE if once else FAILS
                    self._scene.publish(TYPE, 1, fails=not once, data=data)
                    failing += 1
                else:
                    count = min(self._chance.randrange(1, 2 * FAILING_EVERY), available)
                    self._scene.publish(TYPE, count)
                    plain += count
        except BaseException as error:
            self._error = error


@dataclass(slots=True)
class Storm:
    """What is done to the workers. One of them at most is frozen at a time."""

    testbed: Testbed
    chance: random.Random
    workers: list[Worker] = field(default_factory=list)
    frozen: tuple[Worker, frozenset[int], float] | None = None

    def start_workers(self) -> None:
        """Those that are missing; wait until they are ready."""
        for worker in self.workers:
            if not worker.main_lives:
                # Celery ends a worker if a pool process dies while the pool starts.
                worker.given_up = True
                now = time.monotonic()
                self.testbed.windows.append(FaultWindow(frozenset(worker.pids()), now, now))
        self.workers = self.living()
        while len(self.workers) < WORKERS:
            self.workers.append(self.testbed.worker(orphans=True))

    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.main_lives]

    def kill(self) -> None:
        """SIGKILL to a whole worker, its main process or one of its pool processes."""
        worker = self.chance.choice(
            [worker for worker in self.living() if not self.is_frozen(worker)]
        )
        how = self.chance.choice((self._kill_group, self._kill_main, self._kill_child))
        how(worker)
        self.testbed.injected += 1

    def kill_last(self) -> None:
        """A whole worker: no process remains that reports its deliveries."""
        busy, living = self.testbed.store.latest_main(), self.living()
        at_work = [worker for worker in living if worker.main == busy]
        self._kill_group((at_work or living)[0])
        self.testbed.injected += 1

    def _kill_group(self, worker: Worker) -> None:
        self._kill(worker, worker.kill_group)

    def _kill_main(self, worker: Worker) -> None:
        self._kill(worker, worker.kill_main)

    def _kill(self, worker: Worker, kill: Callable[[], None]) -> None:
        pids, began = frozenset(worker.pids()), time.monotonic()
        kill()
        self.testbed.windows.append(FaultWindow(pids, began, time.monotonic()))
        self.workers.remove(worker)

    def _kill_child(self, worker: Worker) -> None:
        self.testbed.kill_child(worker)

    def freeze(self) -> None:
        self.thaw(wait=True)
        worker = self.chance.choice(self.living())
        pids = frozenset(worker.pids())
        self.frozen = worker, pids, freeze_beside_store(self.testbed, worker)
        self.testbed.injected += 1

    def thaw(self, *, wait: bool = False) -> None:
        """Thaw the frozen worker if its time has come; `wait` until then."""
        if self.frozen is None:
            return
        worker, pids, began = self.frozen
        remaining = began + self.testbed.lease + FROZEN_BEYOND - time.monotonic()
        if remaining > 0 and not wait:
            return
        time.sleep(max(0.0, remaining))
        worker.thaw()
        self.testbed.windows.append(FaultWindow(pids, began, time.monotonic(), frozen=True))
        self.frozen = None

    def is_frozen(self, worker: Worker) -> bool:
        return self.frozen is not None and self.frozen[0] is worker

    def until_begun(self, events: int) -> None:
        """Wait until the workers are at about that event."""
        executions = events - 2 * events // FAILING_EVERY  # those that fail leave no trace

        def begun() -> bool:
            self.thaw()
            return self.testbed.store.began_count() >= executions

        self.testbed.until(begun, f"{executions:,} executions", PROGRESS_WITHIN)


def kills_and_freezes(testbed: Testbed) -> None:
    """At random points of the run, the same ones for the same FAULTS_SEED."""
    size = FULL if testbed.times > 2 else QUICK
    seed = int(os.environ.get("FAULTS_SEED") or random.randrange(2**32))
    print(f"    FAULTS_SEED={seed}", file=sys.stderr, flush=True)
    chance = random.Random(seed)
    storm = Storm(testbed, chance)
    windows = [storm.kill] * (size.kills - 1) + [storm.freeze] * size.freezes
    chance.shuffle(windows)
    # Work is remaining after the last.
    within = range(size.events // 50, size.events * 85 // 100)
    *points, last = sorted(chance.sample(within, len(windows) + 1))
    with Publishing(testbed, size.events, random.Random(seed)) as publishing:
        for point, following, inject in zip(points, [*points[1:], last], windows, strict=True):
            storm.start_workers()
            # Not beyond the next point: that fault, too, must affect running work.
            publishing.limit = following + DEPTH
            storm.until_begun(point)
            inject()
        storm.thaw(wait=True)
        storm.start_workers()
        publishing.limit = size.events
        storm.until_begun(last)
        storm.kill_last()
        # Two workers are remaining. What the third held they get at the end of its lease.
        testbed.restored(wait=False)
    testbed.notes.append(f"{size.kills} kills, {size.freezes} freezes, FAULTS_SEED={seed}")


FAULTS = (
    Fault(
        name="kills and freezes",
        about="at random points of a long run of three workers, in which 2 % fail",
        inject=kills_and_freezes,
        stock=False,
        quick=True,
        domains=("churn",),
        bound=90.0,
    ),
)
