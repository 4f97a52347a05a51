"""Events that handlers return, where processes die between their emit and the completion."""

from __future__ import annotations

from collections import Counter
from typing import Any


def test_a_process_that_dies_after_the_emit_emits_nothing_twice(deployment: Any) -> None:
    deployment.worker(app="returning")
    for handler, domain in {"split": "order", "pack": "parcel", "remind": "order"}.items():
        deployment.joined(f"billing.{handler}", domain)
    ids = [deployment.bus.emit("order.placed", {"dies": n % 4 == 0}) for n in range(12)]
    dying = {id for n, id in enumerate(ids) if n % 4 == 0}

    def reminded() -> Counter[str]:
        return Counter(deployment.effects.lrange("reminded", 0, -1))

    deployment.until(lambda: set(reminded()) == set(ids), what="all reminders", seconds=60)
    deployment.until_settled()
    runs = deployment.runs("billing.split")
    assert set(runs) == set(ids) and all(runs[id] > 1 for id in dying)
    log = deployment.bus.service.backend.event_log
    assert log.length("parcel") == 3 * len(ids)
    assert log.length("order") == 2 * len(ids)
    packed = Counter(deployment.effects.lrange("parcels", 0, -1))
    assert set(packed) == {f"{id}/{line}" for id in ids for line in range(3)}
    assert deployment.missing() == 0
