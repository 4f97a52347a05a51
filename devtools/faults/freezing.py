"""Freezing a worker with SIGSTOP, and nothing that the harness needs beside it."""

from __future__ import annotations

import time

from devtools.faults.scene import Scene
from devtools.faults.worker import Worker


def freeze_beside_store(scene: Scene, worker: Worker) -> float:
    """Freezes it; returns when. Not in the middle of a write to the store, which is the harness's
    own: there it would keep all others from writing what they did."""
    while True:
        began = time.monotonic()
        worker.freeze()
        if scene.store.is_free():
            return began
        worker.thaw()
        time.sleep(0.05)
