"""cancel within `transaction.atomic`: the relay cancels the event if the transaction commits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from celeriac import EventBus, InvalidEvent
from celeriac.contrib.django.models import OutboxRow
from celeriac.testing import in_memory
from tests.unit.contrib.django.inside.test_outbox import relay_of

AT = datetime(2100, 1, 1, tzinfo=UTC)
TYPE = "order.reminded"


def delayed(live: EventBus) -> int:
    return live.service.backend.event_log.delayed("order")


def emit_delayed(live: EventBus, using: str = "default") -> str:
    """Emit it in a transaction of its own, and publish it."""
    with transaction.atomic(using=using):
        id = live.emit(TYPE, at=AT, using=using)
    assert relay_of(live, using).drain() == 1 and delayed(live) == 1
    return id


def test_the_event_is_cancelled_after_the_commit_and_not_before(live: EventBus) -> None:
    id = emit_delayed(live)
    with transaction.atomic():
        assert live.cancel(id, type=TYPE, using="default")
        assert delayed(live) == 1
    assert delayed(live) == 1
    assert relay_of(live).drain() == 1
    assert (delayed(live), OutboxRow.objects.count()) == (0, 0)


def test_after_a_rollback_the_event_stays(live: EventBus) -> None:
    id = emit_delayed(live)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        live.cancel(id, type=TYPE, using="default")
        raise ZeroDivisionError
    assert (relay_of(live).drain(), delayed(live)) == (0, 1)


def test_after_a_rollback_to_a_savepoint_the_event_stays(live: EventBus) -> None:
    kept, cancelled = emit_delayed(live), ""
    with transaction.atomic():
        cancelled = live.emit(TYPE, at=AT)
        live.cancel(cancelled, type=TYPE, using="default")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            live.cancel(kept, type=TYPE, using="default")
            raise ZeroDivisionError
    relay_of(live).drain()
    assert delayed(live) == 1
    assert live.cancel(kept, type=TYPE) and not live.cancel(cancelled, type=TYPE)


def test_an_event_of_the_same_transaction_never_gets_through(live: EventBus) -> None:
    with transaction.atomic():
        id = live.emit(TYPE, at=AT)
        assert live.cancel(id, type=TYPE, using="default")
    assert OutboxRow.objects.count() == 2
    relay_of(live).drain()
    assert (delayed(live), OutboxRow.objects.count()) == (0, 0)


def test_using_names_the_database_of_the_transaction(live: EventBus) -> None:
    """It is cancelled by the relay of that database, and needs no transaction in the other."""
    id = emit_delayed(live, "other")
    with transaction.atomic(using="other"):
        assert live.cancel(id, type=TYPE, using="other")
    assert (relay_of(live).drain(), delayed(live)) == (0, 1)
    assert (relay_of(live, "other").drain(), delayed(live)) == (1, 0)


def test_without_a_transaction_it_is_cancelled_at_once(live: EventBus) -> None:
    id = emit_delayed(live)
    assert live.cancel(id, type=TYPE, using="default")
    assert (delayed(live), OutboxRow.objects.count()) == (0, 0)
    assert not live.cancel(id, type=TYPE, using="default")


def test_the_type_is_required_in_a_transaction(live: EventBus) -> None:
    with transaction.atomic(), pytest.raises(InvalidEvent, match="type is missing"):
        live.cancel("id", using="default")
    assert OutboxRow.objects.count() == 0


def test_an_asynchronous_view_cancels_in_a_thread_with_its_transaction(live: EventBus) -> None:
    """Django's transactions are of one thread; there are none in a coroutine."""
    id = emit_delayed(live)

    @sync_to_async
    def cancel(*, fails: bool) -> None:
        with transaction.atomic():
            live.cancel(id, type=TYPE, using="default")
            if fails:
                raise ZeroDivisionError

    async def view() -> None:
        with pytest.raises(ZeroDivisionError):
            await cancel(fails=True)
        assert await sync_to_async(relay_of(live).drain)() == 0 and delayed(live) == 1
        await cancel(fails=False)
        assert await sync_to_async(relay_of(live).drain)() == 1

    asyncio.run(view())
    assert delayed(live) == 0


def test_in_memory_it_is_cancelled_at_once(live: EventBus) -> None:
    with in_memory(live), transaction.atomic():
        id = live.emit(TYPE, at=AT)
        assert live.cancel(id, type=TYPE, using="default")
        assert not live.cancel(id, type=TYPE, using="default")
    assert OutboxRow.objects.count() == 0
