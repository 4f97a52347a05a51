"""Cancelling delayed events while a worker moves them into the event log."""

from __future__ import annotations

import time
from typing import Any


def test_each_event_is_either_cancelled_or_delivered(deployment: Any) -> None:
    deployment.worker(app="returning")
    deployment.joined("billing.remind", "order")
    began = time.monotonic()
    ids = {
        n: deployment.bus.emit("order.reminded", {"order": n}, delay=0.3 + n * 0.01)
        for n in range(100)
    }

    def reminded() -> list[int]:
        return [int(n) for n in deployment.effects.lrange("reminded", 0, -1)]

    cancelled = set()
    for n, id in reversed(ids.items()):
        time.sleep(max(0.0, began + 0.3 + (99 - n) * 0.01 - time.monotonic()))
        if n == 0:
            # On a loaded machine the worker may not have moved any event yet.
            deployment.until(lambda: bool(reminded()), what="a reminder")
        if deployment.bus.cancel(id):
            cancelled.add(n)

    deployment.until(lambda: len(reminded()) >= 100 - len(cancelled), what="all reminders")
    deployment.until_settled()
    assert 0 < len(cancelled) < 100
    assert sorted(reminded()) == sorted(set(ids) - cancelled)
    assert deployment.missing() == 0
