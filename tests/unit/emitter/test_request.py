"""Requests and their replies, between services in memory."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from typing import Any

import msgspec
import pytest

from celeriac import (
    Emit,
    Event,
    EventBus,
    InvalidEvent,
    NoReply,
    Reply,
    Retry,
)
from celeriac.security.generate import generate
from celeriac.testing import in_memory

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def shop() -> EventBus:
    return EventBus(service="shop", redis_url=NOWHERE)


@pytest.fixture
def prices() -> EventBus:
    bus = EventBus(service="prices", redis_url=NOWHERE)

    @bus.on("price.asked")
    def quote(event: Event[dict[str, Any]]) -> Reply:
        return Reply({"cents": 100 * event.data["n"]})

    return bus


def rivals(count: int) -> list[EventBus]:
    buses = []
    for n in range(count):
        bus = EventBus(service=f"rival{n}", redis_url=NOWHERE)

        @bus.on("price.asked")
        def quote(event: Event[dict[str, Any]], n: int = n) -> Reply:
            return Reply({"rival": n})

        buses.append(bus)
    return buses


def test_the_reply_is_an_event_caused_by_the_request(shop: EventBus, prices: EventBus) -> None:
    with in_memory(shop, prices) as memory:
        reply = shop.request("price.asked", {"n": 3}, subject="item/7")
        asked, emitted = memory.emitted
    assert reply.data == {"cents": 300}
    assert (reply.type, reply.source, reply.subject) == (
        "price.asked.replied",
        prices.settings.source,
        "item/7",
    )
    assert (reply.causationid, reply.correlationid) == (asked.id, asked.id)
    assert emitted.id == reply.id and "late" not in reply.extensions
    assert asked.extensions["replyto"] == asked.id


def test_a_coroutine_requests_too(shop: EventBus, prices: EventBus) -> None:
    async def ask() -> Event[Any]:
        return await shop.arequest("price.asked", {"n": 2})

    with in_memory(shop, prices):
        assert asyncio.run(ask()).data == {"cents": 200}


def test_several_services_reply(shop: EventBus, prices: EventBus) -> None:
    with in_memory(shop, *rivals(3)) as memory:
        replies = shop.request("price.asked", {"n": 1}, replies=3)
        assert {reply.data["rival"] for reply in replies} == {0, 1, 2}
        some = shop.request("price.asked", {"n": 1}, replies=2)
        assert len(some) == 2
        every = shop.request("price.asked", {"n": 1}, until="timeout", timeout=60)
        assert len(every) == 3
        at_most = shop.request("price.asked", {"n": 1}, until="timeout", replies=9)
        assert len(at_most) == 3
        memory.assert_no_dead()


def test_too_few_replies_in_time_are_an_error_that_has_them(
    shop: EventBus, prices: EventBus
) -> None:
    with in_memory(shop, prices) as memory:
        began = memory.now
        with pytest.raises(NoReply, match=r"1 of 2 replies to price\.asked .* in 5 s") as caught:
            shop.request("price.asked", {"n": 1}, replies=2)
        assert [reply.data for reply in caught.value.replies] == [{"cents": 100}]
        assert caught.value.event_id == memory.emitted[0].id
        assert (memory.now - began).total_seconds() == pytest.approx(5, abs=0.1)
        assert isinstance(caught.value, TimeoutError)


def test_no_service_replies(shop: EventBus) -> None:
    with in_memory(shop):
        with pytest.raises(NoReply, match="0 of 1 replies"):
            shop.request("price.asked", timeout=1)
        assert shop.request("price.asked", timeout=1, until="timeout") == []


def test_a_late_reply_is_in_the_event_log_and_marked(
    shop: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    slow = EventBus(service="slow", redis_url=NOWHERE)
    late: list[Event[Any]] = []

    @slow.on("price.asked", backoff=60)
    def quote(event: Event[Any]) -> Reply:
        if not late and not ready:
            ready.append(event.id)
            raise Retry(after=30)
        return Reply("100")

    @shop.on("price.asked.replied")
    def note(event: Event[Any]) -> None:
        late.append(event)

    ready: list[str] = []
    with in_memory(shop, slow) as memory, caplog.at_level(logging.WARNING):
        with pytest.raises(NoReply):
            shop.request("price.asked", timeout=10)
        memory.run_until_idle()
    [reply] = late
    assert reply.extensions["late"] is True and reply.data == "100"
    assert any("is late, and only in the event log" in r.message for r in caplog.records)


def test_a_reply_within_the_timeout_may_take_a_retry(shop: EventBus) -> None:
    slow, runs = EventBus(service="slow", redis_url=NOWHERE), []

    @slow.on("price.asked")
    def quote(event: Event[Any]) -> Reply:
        runs.append(event.id)
        if len(runs) == 1:
            raise Retry(after=3)
        return Reply(len(runs))

    with in_memory(shop, slow):
        assert shop.request("price.asked", timeout=10).data == 2


def test_a_repeated_run_replies_once(shop: EventBus, prices: EventBus) -> None:
    with in_memory(shop, prices) as memory:
        memory.crash_before_ack()
        replies = shop.request("price.asked", {"n": 1}, until="timeout", timeout=120)
        assert len(replies) == 1
        assert memory.store.event_log.length("price") == 2


def test_an_event_that_is_no_request_is_answered_by_an_event(
    shop: EventBus, prices: EventBus
) -> None:
    with in_memory(shop, prices) as memory:
        shop.emit("price.asked", {"n": 1})
        memory.run_until_idle()
        reply = memory.emitted.assert_emitted("price.asked.replied", {"cents": 100})
        assert not reply.extensions


@pytest.mark.parametrize("name", ["}x{", "a" * 65, "", "a b"])
def test_a_mailbox_with_another_name_is_none(shop: EventBus, prices: EventBus, name: str) -> None:
    """Any producer chooses the attribute; it becomes part of a key in Redis."""
    with in_memory(shop, prices) as memory:
        shop.emit("price.asked", {"n": 1}, extensions={"replyto": name})
        memory.run_until_idle()
        memory.assert_no_dead()
        assert not memory.emitted.assert_emitted("price.asked.replied").extensions


def test_a_handler_requests_while_it_runs(shop: EventBus, prices: EventBus) -> None:
    @shop.on("order.placed")
    def order(event: Event[Any]) -> Emit:
        price = shop.request("price.asked", {"n": 5})
        return Emit("order.priced", price.data)

    with in_memory(shop, prices) as memory:
        shop.emit("order.placed", id="a")
        memory.run_until_idle()
        priced = memory.emitted.assert_emitted("order.priced", {"cents": 500}, times=1)
        asked = memory.emitted.assert_emitted("price.asked", times=1)
        assert (priced.causationid, asked.causationid) == ("a", "a")


def test_a_reply_has_the_type_and_attributes_that_it_is_given(shop: EventBus) -> None:
    other = EventBus(service="other", redis_url=NOWHERE)

    @other.on("price.asked")
    def quote(event: Event[Any]) -> list[Any]:
        return [
            Emit("price.looked_up"),
            Reply(1, type="quote.made", subject="q/1", extensions={"region": "t"}),
        ]

    with in_memory(shop, other) as memory:
        reply = shop.request("price.asked")
        assert (reply.type, reply.subject, reply.extensions["region"]) == ("quote.made", "q/1", "t")
        memory.emitted.assert_emitted("price.looked_up", times=1)


def test_a_batch_names_the_request_of_each_reply(shop: EventBus) -> None:
    other = EventBus(service="other", redis_url=NOWHERE)

    @other.on("price.asked", batch=10)
    def quote(events: list[Event[Any]]) -> list[Reply]:
        return [Reply(event.data, to=event) for event in events]

    @other.on("stock.asked", batch=10, retries=0)
    def count(events: list[Event[Any]]) -> Reply:
        return Reply(len(events))

    with in_memory(shop, other) as memory:
        shop.emit("price.asked", "other")
        assert shop.request("price.asked", "mine").data == "mine"
        shop.emit("stock.asked")
        shop.emit("stock.asked")
        memory.run_until_idle()
        assert [dead.error for dead in memory.dead] == [
            "TypeError: other.count returned a Reply to a batch. Name the request: "
            "Reply(data, to=event)"
        ] * 2


def test_data_of_the_reply_is_read_as_its_declared_type(shop: EventBus, prices: EventBus) -> None:
    class Quote(msgspec.Struct):
        cents: int

    shop.declare("price.asked.replied", Quote)
    with in_memory(shop, prices):
        assert shop.request("price.asked", {"n": 1}).data == Quote(cents=100)


def test_a_reply_that_is_not_trusted_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    private, public = (json.dumps(key) for key in generate("prices-1", sources=["prices"]))
    strict = EventBus(
        service="strict", redis_url=NOWHERE, require_signature=True, trusted_keys=public
    )
    signing = EventBus(service="prices", source="prices", redis_url=NOWHERE, signing_key=private)
    forger = EventBus(service="forger", redis_url=NOWHERE)

    @signing.on("price.asked")
    def quote(event: Event[Any]) -> Reply:
        return Reply("true")

    @forger.on("price.asked")
    def forge(event: Event[Any]) -> Reply:
        return Reply("forged")

    with in_memory(strict, signing, forger), caplog.at_level(logging.WARNING):
        replies = strict.request("price.asked", until="timeout", timeout=1)
    assert [reply.data for reply in replies] == ["true"]
    assert any("was refused" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"timeout": 0}, "timeout=0: must be a number of seconds above 0"),
        ({"timeout": True}, "timeout=True"),
        ({"timeout": "5"}, "timeout='5': must be a number of seconds above 0"),
        ({"timeout": None}, "timeout=None"),
        ({"timeout": 1e7}, "at most 1000000"),
        ({"timeout": math.nan}, "timeout=nan"),
        ({"replies": 0}, "replies=0: must be a whole number of at least 1"),
        ({"replies": 2.5}, "replies=2.5"),
        ({"replies": "3"}, "replies='3'"),
        ({"replies": True}, "replies=True"),
        ({"until": "never"}, "until='never'"),
        ({"id": "a"}, "a request cannot have id"),
        ({"delay": 5}, "a request cannot have delay"),
    ],
)
def test_a_wrong_argument_is_refused(shop: EventBus, given: dict[str, Any], says: str) -> None:
    with in_memory(shop) as memory:
        with pytest.raises(InvalidEvent) as caught:
            shop.request("price.asked", **given)
        assert says in str(caught.value) and not memory.emitted
