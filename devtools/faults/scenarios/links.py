"""Faults of the link between a worker and the server, and of a worker's clock."""

from __future__ import annotations

import os
import time

from devtools.faults.fault import Fault, Inject
from devtools.faults.testbed import PYTHONPATH, Testbed

# Imported by Python before all else. datetime.now() is C and stays right; what reads the clock
# through `time` is wrong: Celery, kombu, and celeriac wherever it does not ask the server.
WRONG_CLOCK = """
import time
_right, _right_ns = time.time, time.time_ns
time.time = lambda: _right() + ({seconds})
time.time_ns = lambda: _right_ns() + ({seconds}) * 10**9
"""


def half_open(testbed: Testbed) -> None:
    """With another worker whose link works, as in a real service."""
    proxy = testbed.link()
    cut_off = testbed.worker()
    testbed.url = testbed.server.url
    testbed.worker(processes=1)
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            with testbed.fault_window(cut_off):
                proxy.half_open()
                testbed.restored(wait=False)
                time.sleep(testbed.lease + 2)
        testbed.busy()


def half_open_alone(testbed: Testbed) -> None:
    """The only worker: it has to find out for itself."""
    proxy = testbed.link()
    worker = testbed.worker()
    with testbed.stream():
        testbed.busy()
        with testbed.fault_window(worker):
            proxy.half_open()
        testbed.restored()
        time.sleep(1)


def cut(testbed: Testbed) -> None:
    proxy = testbed.link()
    worker = testbed.worker()
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            with testbed.fault_window(worker):
                proxy.cut()
                time.sleep(testbed.lease + 1)
                proxy.restore()
            testbed.restored()
        testbed.busy()


def slow(testbed: Testbed) -> None:
    proxy = testbed.link()
    testbed.worker()
    with testbed.stream():
        for _ in range(testbed.times):
            testbed.busy()
            proxy.slow(0.1)
            testbed.injected += 1
            time.sleep(4)
            proxy.restore()
            testbed.restored()
            testbed.busy()


def wrong_clock(seconds: int) -> Inject:
    def start(testbed: Testbed) -> None:
        folder = testbed.directory / "clock"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(WRONG_CLOCK.format(seconds=seconds))
        testbed.worker(processes=1)
        path = os.pathsep.join([str(folder), PYTHONPATH])
        testbed.worker(processes=1, env={"PYTHONPATH": path})
        testbed.injected += 1
        with testbed.stream():
            testbed.busy(300)

    return start


FAULTS = (
    Fault(
        name="link: half open",
        about="a worker's connections go silent for ever; another worker is sound",
        inject=half_open,
        once=True,
    ),
    Fault(
        name="link: half open, only worker",
        about="its connections go silent for ever; new ones would work",
        inject=half_open_alone,
        once=True,
        # Half the default: a silent link is given up after 5 s, with any lease.
        lease=15.0,
        bound=100.0,
    ),
    Fault(
        name="link: cut",
        about="connections reset and refused for the lease and a second",
        inject=cut,
        quick=True,
    ),
    Fault(
        name="link: slow",
        about="100 ms more in each direction for four seconds",
        inject=slow,
    ),
    Fault(
        name="clock: one worker 10 minutes fast",
        about="time.time of one of two workers",
        inject=wrong_clock(600),
        once=True,
    ),
    Fault(
        name="clock: one worker 10 minutes slow",
        about="time.time of one of two workers",
        inject=wrong_clock(-600),
        once=True,
    ),
)
