"""Real Celery workers for tests and examples, as children of this process."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import NoReturn

from celeriac.bus import EventBus
from celeriac.errors import CeleriacError
from celeriac.tracking import HandlerLag

STARTS_WITHIN = 60.0
STOPS_WITHIN = 20.0
POLL_INTERVAL = 0.02


class WorkerFailed(CeleriacError, RuntimeError):
    """A worker did not start, ended, or did not become idle in time."""


class RunningWorkers:
    """The workers that `run_workers` started."""

    def __init__(self, buses: tuple[EventBus, ...], processes: int) -> None:
        self._buses = {bus.settings.service: bus for bus in buses}
        self._matrix = buses[0].matrix
        self._pids: dict[str, int] = {}
        # The children read end of file when this process ends, however it does.
        self._parent_ended, self._alive = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        for service, bus in self._buses.items():
            self._pids[service] = self._fork(bus, processes)

    def wait_until_idle(self, timeout: float = 30.0) -> None:
        """Block until no handler has an unfinished delivery.

        This includes deliveries that wait for a retry. It does not include events that were emitted
        with `delay` or `at` and are not due yet.

        Args:
            timeout: Seconds to wait.

        Raises:
            WorkerFailed: A worker ended, or the deliveries were not finished in time.
        """
        previous: list[HandlerLag] = []

        def is_idle() -> bool:
            # Two equal readings: a handler that ran between the readings of two domains has
            # changed its counts, and may have emitted into a domain that was already read.
            nonlocal previous
            before, previous = previous, self._matrix.lag()
            return before == previous and not any(lag.unfinished for lag in previous)

        self._wait(is_idle, timeout, "did not become idle")

    def wait_until_ready(self, timeout: float = STARTS_WITHIN) -> None:
        """Block until every service has subscribed its handlers. `run_workers` calls it."""
        registry = self._matrix.backend.registry

        def is_ready() -> bool:
            return self._pids.keys() <= {worker.service for worker in registry.workers()}

        self._wait(is_ready, timeout, "did not start")

    def stop(self) -> None:
        """Shut the workers down; they finish the deliveries that run. Idempotent."""
        pids, self._pids = self._pids, {}
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOPS_WITHIN
        for pid in pids.values():
            while not _has_ended(pid):
                if time.monotonic() > deadline:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                time.sleep(POLL_INTERVAL)
        if pids:
            os.close(self._alive)
            os.close(self._parent_ended)

    def _wait(self, condition: Callable[[], bool], timeout: float, failure: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            for service, pid in self._pids.items():
                if _has_ended(pid):
                    del self._pids[service]
                    raise WorkerFailed(f"the worker of {service} ended; its output has the reason")
            if time.monotonic() > deadline:
                raise WorkerFailed(f"the workers {failure} within {timeout:g} seconds")
            time.sleep(POLL_INTERVAL)

    def _fork(self, bus: EventBus, processes: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        os.close(self._alive)
        _run(bus, processes, self._parent_ended)


@contextlib.contextmanager
def run_workers(*buses: EventBus, processes: int = 1) -> Iterator[RunningWorkers]:
    """Run a Celery worker for each bus until the block ends.

    The workers are forks of this process: handlers may be defined in any module or function, and
    their output goes to the output of this process. Call it before this process starts threads.

    Args:
        buses: The buses of the services, each with a service of its own.
        processes: The number of pool processes of each worker.

    Raises:
        WorkerFailed: A worker ended, or did not start within a minute.
    """
    workers = RunningWorkers(buses, processes)
    try:
        workers.wait_until_ready()
        yield workers
    finally:
        workers.stop()


def _run(bus: EventBus, processes: int, parent_ended: int) -> NoReturn:
    """Be the worker of a service, in a session of its own: Ctrl-C reaches the parent alone."""
    status = 1
    try:
        os.setsid()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)
        _be_quiet()
        threading.Thread(target=_end_with_parent, args=(parent_ended,), daemon=True).start()
        worker = bus.app.Worker(
            hostname=f"{bus.settings.service}@{os.uname().nodename}",
            concurrency=processes,
            loglevel="WARNING",
            quiet=True,
            redirect_stdouts=False,
            without_mingle=True,
            without_gossip=True,
        )
        worker.start()
        status = int(worker.exitcode or 0)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        # What the parent registered with atexit is the parent's; billiard's directory is ours.
        with contextlib.suppress(Exception):
            import_module("billiard.util")._exit_function()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _be_quiet() -> None:
    """Leave the output to the handlers: no line at the shutdown, no advice on root users."""
    import warnings

    from celery import signals
    from celery.exceptions import SecurityWarning
    from celery.worker import state

    def shut_down(*_: object) -> None:
        state.should_stop = 0

    def replace_handler(**_: object) -> None:
        signal.signal(signal.SIGTERM, shut_down)

    warnings.simplefilter("ignore", SecurityWarning)
    signals.worker_ready.connect(replace_handler, weak=False)


def _end_with_parent(parent_ended: int) -> None:
    os.read(parent_ended, 1)
    os.killpg(0, signal.SIGKILL)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
