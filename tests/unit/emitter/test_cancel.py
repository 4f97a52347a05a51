"""Cancelling a delayed event by the id that `emit` returned."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from celeriac import BusUnavailable, Event, EventBus, InvalidEvent
from celeriac.outbox.cancellation import cancel_row
from celeriac.testing import in_memory
from celeriac.testing.store import Store

AT = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("when", [{"delay": 60}, {"at": AT}])
@pytest.mark.parametrize("type", [None, "order.reminded"])
def test_a_cancelled_event_reaches_no_handler(
    bus: EventBus, when: dict[str, Any], type: str | None
) -> None:
    ran: list[str] = []

    @bus.on("order.reminded")
    def remind(event: Event) -> None:
        ran.append(event.id)

    with in_memory(bus) as memory:
        first = bus.emit("order.reminded", **when)
        second = bus.emit("order.reminded", **when)
        assert bus.cancel(first, type=type)
        assert not bus.cancel(first, type=type)
        memory.run_until_idle()
        assert ran == [second]
        assert not bus.cancel(second, type=type)


def test_the_type_and_the_source_decide_where_it_is_searched(bus: EventBus, store: Store) -> None:
    id = bus.emit("order.reminded", delay=60, source="till")
    assert not bus.cancel(id)
    assert not bus.cancel(id, source="till", type="payment.reminded")
    with pytest.raises(InvalidEvent):
        bus.cancel(id, type="order reminded")
    assert bus.cancel(id, source="till", type="order.any")


def test_a_coroutine_cancels_too(bus: EventBus, store: Store) -> None:
    async def emit_and_cancel() -> tuple[bool, bool]:
        id = await bus.aemit("order.reminded", delay=60)
        return await bus.acancel(id), await bus.acancel(id)

    assert asyncio.run(emit_and_cancel()) == (True, False)


def test_after_a_lost_reply_nothing_is_claimed(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try may have cancelled it, and the second then finds nothing."""
    id = bus.emit("order.reminded", delay=60)
    cancel, tries = store.event_log.cancel_delayed, []

    def lose_reply(event_key: str, domains: Iterable[str]) -> bool:
        tries.append(event_key)
        is_cancelled = cancel(event_key, domains)
        if len(tries) == 1:
            raise redis.TimeoutError("no reply")
        return is_cancelled

    monkeypatch.setattr(store.event_log, "cancel_delayed", lose_reply)
    with pytest.raises(BusUnavailable, match="unknown whether event"):
        bus.cancel(id)
    assert len(tries) == 2 and store.event_log.delayed("order") == 0


@pytest.mark.parametrize("id", [None, 7, "", "x" * 256, "a\0b", "\ud800"])
def test_what_is_no_id_is_refused(bus: EventBus, store: Store, id: Any) -> None:
    with pytest.raises(InvalidEvent, match="`id`"):
        bus.cancel(id)
    with pytest.raises(InvalidEvent, match="`id`"):
        cancel_row(id, "order.reminded", "billing")


def test_what_is_no_source_is_refused(bus: EventBus, store: Store) -> None:
    wrong: Any = 7
    with pytest.raises(InvalidEvent, match="`source`"):
        bus.cancel("e-1", source=wrong)
