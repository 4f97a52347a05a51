"""A master that was demoted behind its address, and keeps its connections."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from celeriac import BusUnavailable, Event, EventBus
from celeriac.dispatcher import Chunk
from celeriac.dispatcher.chunk import Item
from celeriac.event import EventHeader
from celeriac.store.redis.connection import open_client
from celeriac.testing.server import start_server
from celeriac.worker.celery_sender import delivery_sender
from devtools.faults.proxy import Proxy


def charge(event: Event) -> None: ...


def test_a_task_that_a_demoted_master_refused_goes_to_the_new_one(tmp_path: Path) -> None:
    """kombu gives its pool a new connection for one on which publishing failed."""
    with ExitStack() as stack:
        master, replica = start_server(tmp_path / "master"), start_server(tmp_path / "replica")
        stack.push(master)
        stack.push(replica)
        proxy = stack.enter_context(Proxy(master.port))
        app = Celery("billing", broker=proxy.url, set_as_current=False)
        stack.callback(app.close)
        bus = EventBus(app, service="billing", redis_url=proxy.url)
        bus.on("order.placed")(charge)
        handler = bus.service.handlers["billing.charge"]
        event = EventHeader(id="a", source="shop", type="order.placed")
        chunk = Chunk(handler, handler.group("order"), (Item("1-0", 0, event),))
        send = delivery_sender(app, bus.service, watched=lambda: False)
        send(chunk)
        clients: list[Any] = [open_client(one.url, answer_within=5) for one in (master, replica)]
        clients[0].replicaof("127.0.0.1", replica.port)
        proxy.target = replica.port
        with pytest.raises(BusUnavailable, match="read only replica"):
            send(chunk)
        send(chunk)
        assert clients[1].llen("billing") == 1
