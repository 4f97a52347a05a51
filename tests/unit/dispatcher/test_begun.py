"""Deliveries that were begun before need a task each, and must not fill the queue."""

from __future__ import annotations

import math

from celeriac.delivery import FetchRequest
from celeriac.dispatcher.group_table import wake
from celeriac.dispatcher.task_sender import TASKS_AHEAD
from celeriac.event import event_key
from celeriac.settings import Settings
from tests.unit.tracking.shop import Shop, memory_backend

EVENTS = 40


def test_survivors_of_dead_processes_are_sent_no_faster_than_they_run() -> None:
    settings = Settings.load({})
    shop = Shop(memory_backend(settings), settings)
    shop.on("billing.charge", "order.#")
    shop.start()
    handler = shop.services["billing"].handlers["billing.charge"]
    deliveries, group = shop.backend.deliveries, handler.group("order")
    ids = [shop.emit("order.placed") for _ in range(EVENTS)]
    keys = [event_key(id, shop.settings.source) for id in ids]
    entries = [one.id for one in shop.backend.event_log.read("order")]
    dead = "gone"
    deliveries.fetch(dead, [FetchRequest(group, EVENTS)])
    assert EVENTS == len(deliveries.claim(dead, group, list(zip(entries, keys, strict=True)), 3))
    shop.backend.event_log.clock.advance(int(settings.lease * 1000))  # type: ignore[attr-defined]
    dispatcher = shop.dispatchers["billing"]
    most = 0
    for _ in range(3 * EVENTS):
        wake(dispatcher._groups)
        dispatcher._groups[group].reclaimed_at = -math.inf
        shop.dispatch()
        most = max(most, len(shop.chunks))
        shop.chunks, rest = shop.chunks[:1], shop.chunks[1:]
        shop.run()
        shop.chunks = rest
    rows = deliveries.rows(group, keys)
    assert {"processed"} == {row.state.value for row in rows if row}
    assert EVENTS == len([row for row in rows if row])
    assert most <= TASKS_AHEAD, "of one process"
