"""The message of a delivery task, and what people see of it."""

from __future__ import annotations

from typing import Any

import pytest
from amqp.exceptions import ConnectionForced, MessageNacked  # type: ignore[import-untyped]
from celery import Celery
from kombu.exceptions import OperationalError

from celeriac import BusUnavailable, Event, EventBus
from celeriac.dispatcher import Chunk
from celeriac.dispatcher.chunk import Item
from celeriac.event import EventHeader
from celeriac.worker.celery_sender import delivery_sender


def charge(event: Event) -> None: ...


class Published:
    """What the broker was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broker: Any, **options: Any) -> None:
        self.app = Celery("billing", broker=broker, set_as_current=False)
        bus = EventBus(self.app, service="billing", redis_url="redis://127.0.0.1:1/0")
        bus.on("order.placed", **options)(charge)
        self.service = bus.service
        self.handler = bus.service.handlers["billing.charge"]
        self.options: dict[str, Any] = {}
        self.error: Exception | None = None
        monkeypatch.setattr(self.app.amqp, "send_task_message", self._publish)

    def _publish(self, producer: Any, name: str, message: Any, **options: Any) -> None:
        assert name == "billing.charge"
        if self.error is not None:
            raise self.error
        self.options = {
            **message.headers,
            **options,
            "kwargs": message.body[1],
            "queue": options["queue"].name,
            "producer": producer,
        }

    def send(self, *events: EventHeader, watched: bool = False) -> dict[str, Any]:
        items = tuple(Item(f"{n}-0", 0, event) for n, event in enumerate(events, 1))
        chunk = Chunk(self.handler, self.handler.group("order"), items)
        delivery_sender(self.app, self.service, watched=lambda: watched)(chunk)
        return self.options


def event(id: str, **attributes: Any) -> EventHeader:
    return EventHeader(id=id, source="shop", type="order.placed", **attributes)


def test_a_task_of_one_event_shows_it_and_continues_its_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = Published(monkeypatch, "memory://").send(
        event("a", subject="order/1", correlationid="chain")
    )
    assert {"domain": "order", "events": f"1-0 {event('a').key}"} == options["kwargs"]
    assert "{'event': 'order.placed', 'id': 'a', 'subject': 'order/1'}" == options["kwargsrepr"]
    assert ("a", "chain") == (options["parent_id"], options["root_id"])
    assert ("billing", False) == (options["queue"], options["retry"])


def test_the_first_event_of_a_chain_is_its_root(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Published(monkeypatch, "memory://").send(event("a"))
    assert ("a", "a") == (options["parent_id"], options["root_id"])


def test_a_task_of_many_shows_how_many_and_belongs_to_no_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = Published(monkeypatch, "memory://", queue="slow").send(event("a"), event("b"))
    assert "{'events': 2, 'event': 'order.placed', 'id': 'a', 'last': 'b'}" == options["kwargsrepr"]
    assert (None, options["id"]) == (options["parent_id"], options["root_id"])
    assert "slow" == options["queue"]


def test_monitors_that_listen_are_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Published(monkeypatch, "memory://").send(event("a"), watched=True)["kwargs"]["watched"]


@pytest.mark.parametrize(
    ("broker", "urgency", "priority"),
    [
        ("redis://127.0.0.1:1/0", 0, None),
        ("redis://127.0.0.1:1/0", 9, 0),
        ("rediss://127.0.0.1:1/0", 1, 8),
        ("sentinel://127.0.0.1:1", 5, 4),
        ("amqp://127.0.0.1:1", 0, None),
        ("amqp://127.0.0.1:1", 7, 7),
        (["redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0"], 9, 0),
        ("redis://127.0.0.1:1/0;redis://127.0.0.1:2/0", 9, 0),
        (["amqp://127.0.0.1:1", "amqp://127.0.0.1:2"], 7, 7),
    ],
)
def test_priority_is_sent_in_the_numbers_of_the_broker(
    monkeypatch: pytest.MonkeyPatch, broker: Any, urgency: int, priority: int | None
) -> None:
    assert priority == Published(monkeypatch, broker, priority=urgency).send(event("a"))["priority"]


@pytest.mark.parametrize(
    "broker", ["amqp://127.0.0.1:1", ["amqp://127.0.0.1:1", "amqp://127.0.0.1:2"]]
)
def test_on_rabbitmq_a_task_is_confirmed_on_a_connection_of_its_own(
    monkeypatch: pytest.MonkeyPatch, broker: Any
) -> None:
    """Else a delivery task that the broker refuses, or never gets, looks like one that it took."""
    published = Published(monkeypatch, broker)
    options = published.send(event("a"))
    assert options["producer"].connection.transport_options == {"confirm_publish": True}
    assert options["retry"] and options["retry_policy"]["max_retries"] == 1
    assert 0 < options["confirm_timeout"] <= 5
    assert "confirm_publish" not in published.app.conf.broker_transport_options


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("refused"),
        ConnectionResetError("reset"),
        MessageNacked(),
        ConnectionForced("bye"),
    ],
)
def test_a_broker_that_is_away_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    published = Published(monkeypatch, "redis://:secret@127.0.0.1:1/0")
    published.error = error
    with pytest.raises(BusUnavailable, match="CELERIAC_BROKER_URL") as caught:
        published.send(event("a"))
    assert "127.0.0.1:1" in str(caught.value) and "secret" not in str(caught.value)


def test_the_first_of_several_brokers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(monkeypatch, ["redis://:secret@127.0.0.1:1/0", "redis://127.0.0.1:2/0"])
    published.error = OperationalError("refused")
    with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:1") as caught:
        published.send(event("a"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "conf",
    [
        {"task_routes": {"billing.*": {"exchange": "other", "routing_key": "other"}}},
        {"task_routes": (lambda *_, **__: {"queue": "other", "priority": 3},)},
        {"task_always_eager": True},
        {"task_protocol": 1},
        {"task_create_missing_queues": False},
    ],
)
def test_a_delivery_task_goes_to_its_handlers_queue_whatever_the_app_routes(
    conf: dict[str, Any],
) -> None:
    app = Celery("billing", broker="memory://", set_as_current=False)
    app.conf.update(conf)
    bus = EventBus(app, service="billing", redis_url="redis://127.0.0.1:1/0")
    ran: list[Event] = []

    def charge(event: Event) -> None:
        ran.append(event)

    bus.on("order.placed", queue="billing-hints")(charge)
    handler = bus.service.handlers["billing.charge"]
    chunk = Chunk(handler, handler.group("order"), (Item("1-0", 0, event("a")),))
    delivery_sender(app, bus.service, watched=lambda: False)(chunk)
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("billing-hints").get(block=False)
    assert message.headers["task"] == "billing.charge"
    assert message.payload[1] == {"domain": "order", "events": f"1-0 {event('a').key}"}
    assert not ran
