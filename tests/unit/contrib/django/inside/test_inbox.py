"""A handler's effects through Django's ORM, exactly once."""

from __future__ import annotations

import time

import pytest
from django.core.management import call_command
from django.db import connections

from celeriac import ConfigurationError, Emit, Event, EventBus, SubscriptionError
from celeriac.contrib.django.models import InboxRow, OutboxRow
from celeriac.event import event_key, key_id
from celeriac.inbox import DjangoInbox, current_session, statement
from celeriac.testing import in_memory


def effect(id: str) -> None:
    """The outbox serves as the table of effects, because it has no unique event key."""
    OutboxRow.objects.create(event_id=id, domain="effect", body=b"", created_ms=0)


def effects() -> list[str]:
    return list(OutboxRow.objects.order_by("event_id").values_list("event_id", flat=True))


def test_a_repeated_delivery_is_processed_without_a_run(bus: EventBus) -> None:
    @bus.on("order.placed", inbox=DjangoInbox())
    def charge(event: Event) -> None:
        assert current_session() is connections["default"]
        effect(event.id)

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.crash_before_ack()
        memory.run_until_idle()
        memory.redeliver_all()
        assert memory.run_until_idle().processed == 1
        memory.assert_no_dead()
    assert effects() == ["a"]
    assert [(key_id(r.event_key), r.handler, r.domain) for r in InboxRow.objects.all()] == [
        ("a", "billing.charge", "order")
    ]


def test_ids_are_compared_byte_by_byte(bus: EventBus) -> None:
    """MySQL's default collations ignore case, accents and trailing spaces."""
    ids = ["id", "ID", "íd", "id ", "id  ", "🐘", "🐘" * 255]
    runs: list[str] = []

    @bus.on("order.placed", inbox=DjangoInbox())
    def charge(event: Event) -> None:
        runs.append(event.id)

    with in_memory(bus) as memory:
        for id in ids:
            bus.emit("order.placed", id=id)
        memory.run_until_idle()
        memory.redeliver_all()
        memory.run_until_idle()
    assert sorted(runs) == sorted(ids)
    assert {key_id(key) for key in InboxRow.objects.values_list("event_key", flat=True)} == set(ids)


def test_a_batch_that_raises_leaves_nothing(bus: EventBus) -> None:
    @bus.on("order.placed", inbox=DjangoInbox(), batch=10, retries=1, backoff=0.1)
    def store(events: list[Event]) -> None:
        for event in events:
            effect(event.id)
        if any(event.id == "bad" for event in events):
            raise ValueError

    with in_memory(bus) as memory:
        for id in ("a", "bad", "b"):
            bus.emit("order.placed", id=id)
        memory.run_until_idle(shuffle=1)
        memory.redeliver_all()
        memory.run_until_idle(shuffle=2)
        assert len(memory.dead) == 1
    assert effects() == ["a", "b"]


def test_another_database(bus: EventBus) -> None:
    @bus.on("order.placed", inbox=DjangoInbox(using="other"))
    def charge(event: Event) -> None:
        assert connections["other"].in_atomic_block
        assert not connections["default"].in_atomic_block

    with in_memory(bus) as memory:
        bus.emit("order.placed")
        assert memory.run_until_idle().processed == 1
    assert InboxRow.objects.using("other").count() == 1


def test_coroutines_and_second_parameters_are_refused(bus: EventBus) -> None:
    with pytest.raises(SubscriptionError, match="write `def` without `async`"):

        @bus.on("order.placed", inbox=DjangoInbox())
        async def charge(event: Event) -> None: ...

    with pytest.raises(SubscriptionError, match="called with one argument"):

        @bus.on("order.placed", inbox=DjangoInbox())
        def post(event: Event, session: object) -> None: ...


def test_returned_events_are_in_the_transaction_of_the_inbox(bus: EventBus) -> None:
    @bus.on("order.placed", inbox=DjangoInbox())
    def charge(event: Event) -> list[Emit]:
        effect(event.id)
        return [Emit("order.paid", id="p1"), Emit("order.sent", id="p2", delay=60)]

    receiver = bus.service.handlers["billing.charge"].receiver
    assert receiver is not None
    event = bus.event("order.placed", id="a")
    for _ in range(2):
        receiver(event)
    assert effects() == ["a", "p1", "p2"]


def test_a_missing_table_names_the_migration(bus: EventBus) -> None:
    @bus.on("order.placed", inbox=DjangoInbox())
    def charge(event: Event) -> None: ...

    receiver = bus.service.handlers["billing.charge"].receiver
    assert receiver is not None
    call_command("migrate", "celeriac", "zero", verbosity=0)
    with pytest.raises(ConfigurationError, match=r"celeriac_inbox is missing.*migrate celeriac"):
        receiver(bus.event("order.placed"))


def test_old_rows_are_deleted_in_bounded_steps(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement, "PRUNE_ROWS", 10)
    monkeypatch.setattr(statement, "PRUNE_AGAIN", 0.0)

    @bus.on("order.placed", inbox=DjangoInbox())
    def charge(event: Event) -> None: ...

    InboxRow.objects.bulk_create(
        InboxRow(event_key=event_key(f"old{n}", ""), handler="x", domain="order", at_ms=n)
        for n in range(25)
    )
    now_ms = int(time.time() * 1000)
    InboxRow.objects.create(
        event_key=event_key("young", ""), handler="x", domain="order", at_ms=now_ms
    )
    receiver = bus.service.handlers["billing.charge"].receiver
    assert receiver is not None
    remaining = []
    for _ in range(3):
        receiver(bus.event("order.placed"))
        remaining.append(InboxRow.objects.filter(handler="x").count())
    assert remaining == [15, 4, 1]
