"""What would end or silence a whole worker, and does not."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.delivery import FetchRequest, Group
from celeriac.event import event_key
from celeriac.settings import Settings
from celeriac.testing.store import Store
from celeriac.worker import make_app
from celeriac.worker.tasks import HandlerExited


def test_a_memory_error_in_a_handler_does_not_end_the_main_process(
    bus: EventBus, store: Store
) -> None:
    """Celery ends it when a task fails with a MemoryError."""

    def handle(event: Event[Any]) -> None:
        raise MemoryError("no more")

    bus.on("order.placed")(handle)
    group = Group("order", "billing.handle")
    store.event_log.join("order", group.handler, "0")
    id = bus.emit("order.placed")
    (taken,) = store.deliveries.fetch(bus.service.worker, [FetchRequest(group, limit=1)])
    task = bus.app.tasks["billing.handle"]
    with pytest.raises(HandlerExited, match="MemoryError: no more"):
        task.run(
            domain="order",
            events=f"{taken.deliveries[0].entry} {event_key(id, bus.service.settings.source)}",
        )


def test_a_silent_connection_to_the_broker_is_closed() -> None:
    options = make_app(Settings.load({}, service="billing")).conf.broker_transport_options
    assert 1 < options["socket_timeout"] <= 10, "BRPOP is answered within a second"
    assert options["health_check_interval"] <= 10
