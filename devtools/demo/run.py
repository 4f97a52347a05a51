"""One run of the demo: wait for the services, place the orders, show the counts, summarize."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from celeriac.settings import Settings
from celeriac.store.factory import redis_backend
from celeriac.tracking import Matrix
from devtools.demo.accounts import read_accounts
from devtools.demo.failures import FailureLog
from devtools.demo.fulfilment import Fulfilment
from devtools.demo.keyboard import Keyboard
from devtools.demo.options import Options
from devtools.demo.order_generator import OrderGenerator
from devtools.demo.processes import DemoFailed, Processes
from devtools.demo.screen import Screen
from devtools.demo.summary import Summary
from devtools.demo.watch import Watch

REFRESH_INTERVAL = 0.5
COUNT_INTERVAL = 2.0
START_TIMEOUT = 60.0  # seconds until every service has subscribed
_BROKEN = "f repairs the payment gateway"
_REPAIRED = "repaired: now redrive the dead letters"
PROGRESS_TIMEOUT = 60.0  # seconds without progress


class Demo:
    """One run, on processes that are starting. `workers` has the processes of each service."""

    def __init__(self, options: Options, processes: Processes, workers: Mapping[str, int]) -> None:
        self.options, self.processes, self.workers = options, processes, workers
        self.matrix = Matrix(redis_backend(Settings.load()))
        self.fulfilment = Fulfilment(processes.database_url)
        self.watch = Watch(self.matrix, self.fulfilment)
        self.failures = FailureLog(processes.directory)

    @property
    def _repaired(self) -> bool:
        return self.processes.is_repaired

    def run(self) -> Summary:
        """Block until all orders and deliveries are finished, `q` or Ctrl-C. Raises DemoFailed."""
        with Screen(self._addresses) as screen, Keyboard() as keyboard:
            self._wait_for_workers(screen)
            # Import it only now: the shop reads the environment when it is imported.
            from tasks import checkout

            self.orders = OrderGenerator(
                checkout.place_order, events=self.options.events, rate=self.options.rate
            )
            screen.report("placing orders")
            finished, seconds = self._watch(screen, keyboard)
            screen.report("counting the matrix")
            return self._summary(checkout, finished, seconds)

    def _addresses(self) -> list[tuple[str, str]]:
        processes = self.processes
        return [
            ("Flower", processes.flower or "does not run"),
            (processes.server, processes.redis_url),
            ("In another terminal", processes.shell),
            ("Keys", f"{_REPAIRED if self._repaired else _BROKEN}; q ends the demo"),
        ]

    def _wait_for_workers(self, screen: Screen) -> None:
        """Wait for the subscriptions: a handler gets only events that are emitted after it."""
        started = time.monotonic()
        registry, reported = self.matrix.backend.registry, ""
        while True:
            self.processes.check()
            missing = self.workers.keys() - {worker.service for worker in registry.workers()}
            if not missing:
                return
            if time.monotonic() - started > START_TIMEOUT:
                raise DemoFailed(f"{', '.join(sorted(missing))} did not start within a minute")
            what = f"waiting for {', '.join(name for name in self.workers if name in missing)}"
            if what != reported:
                screen.report(reported := what)
            time.sleep(0.02)

    def _watch(self, screen: Screen, keyboard: Keyboard) -> tuple[bool, float]:
        """Show the counts. Return False after `q`, else True, and the seconds that it took."""
        started = moved_at = time.monotonic()
        moved, unchanged, finished = -1, 0, False
        with self._counting() as missing:
            self.orders.start()
            try:
                while True:
                    self.processes.check()
                    done = self.orders.done
                    view = self.watch.look(self.orders.placed)
                    finished = done and view.is_finished
                    screen.show(view, missing(), self.failures.latest())
                    if view.moved != moved:
                        moved, moved_at, unchanged = view.moved, time.monotonic(), 0
                    elif finished:
                        # Read again: a handler may emit into a domain that was already read.
                        unchanged += 1
                        if self.options.exit and unchanged >= 2:
                            return True, moved_at - started
                    elif not view.is_finished and time.monotonic() - moved_at > PROGRESS_TIMEOUT:
                        raise DemoFailed(f"nothing finished for a minute: {view.to_do()}")
                    pressed = keyboard.wait(
                        0.05 if unchanged and self.options.exit else REFRESH_INTERVAL
                    )
                    if "f" in pressed:
                        self.processes.repair()
                    if "q" in pressed:
                        return finished, moved_at - started
            except KeyboardInterrupt:
                return finished, moved_at - started
            finally:
                self.orders.close()

    @contextlib.contextmanager
    def _counting(self) -> Iterator[Callable[[], int | None]]:
        """Count the whole matrix in a thread, because that takes long for many events."""
        counts: list[int] = []
        stopped = threading.Event()

        def count() -> None:
            pause = COUNT_INTERVAL
            while not stopped.wait(pause):
                started = time.monotonic()
                with contextlib.suppress(Exception):
                    counts.append(self.matrix.totals().missing)
                pause = max(COUNT_INTERVAL, 10 * (time.monotonic() - started))

        thread = threading.Thread(target=count, name="count", daemon=True)
        thread.start()
        try:
            yield lambda: counts[-1] if counts else None
        finally:
            stopped.set()

    def _summary(self, checkout: Any, finished: bool, seconds: float) -> Summary:
        placed = self.orders.placed
        cards = [checkout.card_of(number) for number in range(1, placed + 1)]
        return Summary(
            view=self.watch.look(placed),
            totals=self.matrix.totals(),
            expected_dead=cards.count(checkout.UNKNOWN_CARD),
            seconds=seconds,
            finished=finished,
            flower=self.processes.flower,
            aborted=self.fulfilment.abort_reasons(),
            examples=self.fulfilment.examples(),
            accounts=read_accounts(),
            repaired=self._repaired,
        )
