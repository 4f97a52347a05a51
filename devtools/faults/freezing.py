"""Freeze a worker with SIGSTOP, without the processes that the harness needs."""

from __future__ import annotations

import time

from devtools.faults.testbed import Testbed
from devtools.faults.worker import Worker


def freeze_beside_store(testbed: Testbed, worker: Worker) -> float:
    """Freezes it; returns when. Not in the middle of a write to the store, which is the harness's
    own: there it would keep all others from writing what they did."""
    while True:
        began = time.monotonic()
        worker.freeze()
        if testbed.store.is_free():
            return began
        worker.thaw()
        time.sleep(0.05)
