"""Processes in databases of Django."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from celeriac import Event, EventBus
from celeriac.contrib.django.models import InboxRow, OutboxRow, ProcessRow, ProcessStepRow, TimerRow
from celeriac.event import build_event, decode, encode
from celeriac.inbox import DjangoInbox
from celeriac.outbox.database import open_database
from celeriac.outbox.relay import Relay
from celeriac.process import Process, Status, starts
from celeriac.process.query import fire_timer, history
from celeriac.testing import in_memory
from tests.unit.process.shop import State, fulfilment

KEY = "order-42 "  # with a space, which MySQL ignores in text


@pytest.mark.parametrize("using", ["default", "other"])
def test_an_instance_lives_in_the_database(bus: EventBus, using: str) -> None:
    process = bus.process(fulfilment(DjangoInbox(using=using)))
    assert process.definition is not None
    database = open_database(f"django:{using}")
    with in_memory(bus, databases=True) as memory:
        bus.emit("order.placed", {"cents": 5}, subject=KEY)
        memory.crash_before_ack()
        memory.run_until_idle(jump=False)
        memory.advance(600)
        memory.run_until_idle(jump=False)
        memory.redeliver_all()
        memory.run_until_idle(jump=False)
        [row] = ProcessRow.objects.using(using).all()
        assert (row.handler, row.instance_key, row.seq) == ("billing.fulfilment", KEY, 1)
        assert TimerRow.objects.using(using).get().name == "unpaid"
        bus.emit("payment.captured", subject=KEY)
        memory.run_until_idle()
        bus.emit("stock.missing", subject=KEY)
        memory.run_until_idle()
        memory.assert_no_dead()
        assert memory.emitted.types[-2:] == ["stock.returned", "payment.refund"]
    found = history(database, "billing.fulfilment", KEY)
    assert found is not None
    assert (found.instance.status, found.instance.reason) == (Status.ABORTED, "stock.missing")
    assert [step.seq for step in found.steps] == [1, 2, 3]
    assert not TimerRow.objects.using(using).exists()


def test_a_method_that_raises_leaves_nothing(bus: EventBus) -> None:
    class Failing(Process[State], inbox=DjangoInbox()):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            self.emit("payment.asked")
            raise ConnectionError

    bus.process(Failing, retries=0)
    [handler] = bus.service.handlers.values()
    event = build_event("order.placed", None, source="shop", subject=KEY)
    assert handler.receiver is not None
    with pytest.raises(ConnectionError):
        handler.receiver(decode(encode(event)))
    for model in (InboxRow, OutboxRow, ProcessRow, ProcessStepRow, TimerRow):
        assert not model.objects.exists()


def test_the_relay_publishes_a_timer_and_what_the_process_emits(
    live: EventBus,
) -> None:
    live.process(fulfilment(DjangoInbox()))
    [handler] = live.service.handlers.values()
    event = build_event("order.placed", {"cents": 5}, source="shop", subject=KEY)
    assert handler.receiver is not None
    handler.receiver(decode(encode(event)))
    database = open_database("django:default")
    assert fire_timer(database, "billing.fulfilment", KEY, "unpaid")
    relay = Relay(database, live.settings, live.service.backend.event_log)
    assert relay.drain() == 2
    log = live.service.backend.event_log
    [reminder] = log.read("process", count=10)
    [asked] = log.read("payment", count=10)
    assert decode(asked.body or b"").subject == KEY
    handler.receiver(decode(reminder.body or b""))
    assert ProcessRow.objects.get().status == "aborted"
    relay.drain()
    assert [decode(e.body or b"").type for e in log.read("payment", count=10)] == [
        "payment.asked", "payment.refund",
    ]  # fmt: skip


def test_the_migration_has_the_columns_of_the_models() -> None:
    call_command("makemigrations", "celeriac", check=True, dry_run=True, verbosity=0)
    with transaction.atomic(), connections["default"].cursor() as cursor:
        from sqlalchemy import MetaData

        from celeriac.process import process_tables

        for table in process_tables(MetaData()):
            columns = {column.name for column in table.columns}
            found = {
                column.name
                for column in connections["default"].introspection.get_table_description(
                    cursor, table.name
                )
            }
            assert found - {"id"} == columns


def test_a_deadline_is_moved_by_the_clock_of_a_test(bus: EventBus) -> None:
    process = bus.process(fulfilment(DjangoInbox()))
    with in_memory(bus) as memory:
        bus.emit("order.placed", {"cents": 5}, subject=KEY)
        memory.run_until_idle(jump=False)
        memory.advance(timedelta(days=1))
        memory.run_until_idle()
        assert memory.instance(process, KEY).status is Status.ABORTED
    assert not ProcessRow.objects.exists()
