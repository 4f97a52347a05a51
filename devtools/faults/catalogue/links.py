"""Faults of the link between a worker and the server, and of a worker's clock."""

from __future__ import annotations

import os
import time

from devtools.faults.fault import Fault, Inject
from devtools.faults.scene import Scene

# Imported by Python before all else. datetime.now() is C and stays right; what reads the clock
# through `time` is wrong: Celery, kombu, and celeriac wherever it does not ask the server.
WRONG_CLOCK = """
import time
_right, _right_ns = time.time, time.time_ns
time.time = lambda: _right() + ({seconds})
time.time_ns = lambda: _right_ns() + ({seconds}) * 10**9
"""


def half_open(scene: Scene) -> None:
    """Beside a worker whose link is sound, as the others of a service would be."""
    proxy = scene.link()
    cut_off = scene.worker()
    scene.url = scene.server.url
    scene.worker(processes=1)
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            with scene.harm(cut_off):
                proxy.half_open()
                scene.whole(wait=False)
                time.sleep(scene.lease + 2)
        scene.busy()


def half_open_alone(scene: Scene) -> None:
    """The only worker: it has to find out for itself."""
    proxy = scene.link()
    worker = scene.worker()
    with scene.flow():
        scene.busy()
        with scene.harm(worker):
            proxy.half_open()
        scene.whole()
        time.sleep(1)


def cut(scene: Scene) -> None:
    proxy = scene.link()
    worker = scene.worker()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            with scene.harm(worker):
                proxy.cut()
                time.sleep(scene.lease + 1)
                proxy.mend()
            scene.whole()
        scene.busy()


def slow(scene: Scene) -> None:
    proxy = scene.link()
    scene.worker()
    with scene.flow():
        for _ in range(scene.times):
            scene.busy()
            proxy.slow(0.1)
            scene.injected += 1
            time.sleep(4)
            proxy.mend()
            scene.whole()
            scene.busy()


def wrong_clock(seconds: int) -> Inject:
    def start(scene: Scene) -> None:
        folder = scene.directory / "clock"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(WRONG_CLOCK.format(seconds=seconds))
        scene.worker(processes=1)
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        scene.worker(processes=1, env={"PYTHONPATH": path})
        scene.injected += 1
        with scene.flow():
            scene.busy(300)

    return start


FAULTS = (
    Fault(
        name="link: half open",
        about="a worker's connections go silent for ever, beside a sound worker",
        inject=half_open,
        once=True,
    ),
    Fault(
        name="link: half open, only worker",
        about="its connections go silent for ever; new ones would work",
        inject=half_open_alone,
        once=True,
        # Half the default: a link that says nothing is given up after 5 s, whatever the lease.
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
