"""One run of the demo: wait for the services, place the orders, show what happens, sum it up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from celeriac.settings import Settings
from celeriac.store.factory import redis_backend
from celeriac.tracking import Matrix
from devtools.demo.failures import FailureLog
from devtools.demo.keyboard import Keyboard
from devtools.demo.options import Options
from devtools.demo.processes import DemoFailed, Processes
from devtools.demo.screen import Screen
from devtools.demo.summary import Summary
from devtools.demo.till import Till
from devtools.demo.watch import Watch

LOOK_EVERY = 0.5
COUNT_EVERY = 2.0
UP_WITHIN = 60.0  # seconds until every service has joined
_BROKEN = "f repairs the payment gateway"
_REPAIRED = "repaired: now redrive the dead letters"
STUCK_AFTER = 60.0  # seconds without any progress


class Demo:
    """One run, on processes that are starting. `workers` is service → processes."""

    def __init__(self, options: Options, processes: Processes, workers: Mapping[str, int]) -> None:
        self.options, self.processes, self.workers = options, processes, workers
        self.matrix = Matrix(redis_backend(Settings.load()))
        self.watch = Watch(self.matrix)
        self.failures = FailureLog(processes.directory)

    @property
    def _repaired(self) -> bool:
        return self.processes.repaired.exists()

    def run(self) -> Summary:
        """Blocks until it is over: all is dealt with, `q` or Ctrl-C. Raises DemoFailed."""
        with Screen(self._places) as screen, Keyboard() as keyboard:
            self._wait_for_workers(screen)
            # Only now: the shop reads the environment when it is imported.
            from tasks import checkout

            self.till = Till(
                checkout.place_order, events=self.options.events, rate=self.options.rate
            )
            screen.say("placing orders")
            settled, seconds = self._watch(screen, keyboard)
            screen.say("counting the matrix")
            return self._summary(checkout, settled, seconds)

    def _places(self) -> list[tuple[str, str]]:
        processes = self.processes
        return [
            ("Flower", processes.flower or "is not there"),
            (processes.server, processes.redis_url),
            ("In another terminal", processes.shell),
            ("Keys", f"{_REPAIRED if self._repaired else _BROKEN}; q ends the demo"),
        ]

    def _wait_for_workers(self, screen: Screen) -> None:
        """A handler takes part from when it has joined, so no order is placed before that."""
        started = time.monotonic()
        registry, told = self.matrix.backend.registry, ""
        while True:
            self.processes.check()
            missing = self.workers.keys() - {worker.service for worker in registry.workers()}
            if not missing:
                return
            if time.monotonic() - started > UP_WITHIN:
                raise DemoFailed(f"{', '.join(sorted(missing))} did not start")
            what = f"waiting for {', '.join(name for name in self.workers if name in missing)}"
            if what != told:
                screen.say(told := what)
            time.sleep(0.02)

    def _watch(self, screen: Screen, keyboard: Keyboard) -> tuple[bool, float]:
        """Shows what happens until all is dealt with (True) or `q` (False), and for how long."""
        started = moved_at = time.monotonic()
        moved, quiet, settled = -1, 0, False
        with self._counting() as missing:
            self.till.start()
            try:
                while True:
                    self.processes.check()
                    done = self.till.done
                    view = self.watch.look(self.till.placed)
                    settled = done and not view.unsettled
                    screen.show(view, missing(), self.failures.latest())
                    if view.moved != moved:
                        moved, moved_at, quiet = view.moved, time.monotonic(), 0
                    elif settled:
                        # Not at once: what is emitted while domain after domain is read is unseen.
                        quiet += 1
                        if self.options.exit and quiet >= 2:
                            return True, moved_at - started
                    elif view.unsettled and time.monotonic() - moved_at > STUCK_AFTER:
                        raise DemoFailed(f"nothing moves any more: {view.to_do()}")
                    pressed = keyboard.wait(0.05 if quiet and self.options.exit else LOOK_EVERY)
                    if "f" in pressed:
                        self.processes.repair()
                    if "q" in pressed:
                        return settled, moved_at - started
            except KeyboardInterrupt:
                return settled, moved_at - started
            finally:
                self.till.close()

    @contextlib.contextmanager
    def _counting(self) -> Iterator[Callable[[], int | None]]:
        """Counts the whole matrix beside the rest, for it takes a while when there is much."""
        found: list[int] = []
        stopped = threading.Event()

        def count() -> None:
            pause = COUNT_EVERY
            while not stopped.wait(pause):
                started = time.monotonic()
                with contextlib.suppress(Exception):
                    found.append(self.matrix.totals().missing)
                pause = max(COUNT_EVERY, 10 * (time.monotonic() - started))

        thread = threading.Thread(target=count, name="count", daemon=True)
        thread.start()
        try:
            yield lambda: found[-1] if found else None
        finally:
            stopped.set()

    def _summary(self, checkout: Any, settled: bool, seconds: float) -> Summary:
        placed = self.till.placed
        cards = [checkout.card_of(number) for number in range(1, placed + 1)]
        return Summary(
            view=self.watch.look(placed),
            totals=self.matrix.totals(),
            expected_dead=cards.count(checkout.UNKNOWN_CARD),
            seconds=seconds,
            settled=settled,
            flower=self.processes.flower,
            repaired=self._repaired,
        )
