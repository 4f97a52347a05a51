"""Every instance gets each later event once, and an error ends nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from typing import Any

import pytest
import redis

from celeriac import Event, EventBus
from celeriac.broadcast import BroadcastListener
from celeriac.broadcast.listener import WAIT
from celeriac.handler.broadcast import Scope
from celeriac.security.generate import generate
from celeriac.testing import in_memory
from celeriac.testing.store import Store


def listener(bus: EventBus, store: Store, *scopes: Scope) -> BroadcastListener:
    found = BroadcastListener(bus.service, scopes or ("worker", "process"), store.event_log)
    found.begin()
    return found


@pytest.fixture
def got(bus: EventBus) -> list[str]:
    """What broadcast handlers were called with."""
    got: list[str] = []

    @bus.on("cache.*", broadcast=True)
    def forget(event: Event[Any]) -> None:
        got.append(event.id)
        if event.data == "bad":
            raise ValueError("cannot")
        if event.data == "exit":
            sys.exit(1)

    return got


def test_each_instance_gets_each_event_from_its_start_on(
    bus: EventBus, store: Store, got: list[str]
) -> None:
    bus.emit("cache.filled", id="before")
    first = listener(bus, store)
    bus.emit("cache.filled", id="a")
    second = listener(bus, store)
    bus.emit("cache.cleared", id="b")
    bus.emit("stock.low", id="other")
    assert (first.handle_new(), second.handle_new()) == (2, 1)
    assert (first.handle_new(), second.handle_new()) == (0, 0)
    assert got == ["a", "b", "b"]


@pytest.mark.parametrize("data", ["bad", "exit"])
def test_an_error_is_logged_and_not_repeated(
    bus: EventBus, store: Store, got: list[str], data: str, caplog: pytest.LogCaptureFixture
) -> None:
    instance = listener(bus, store)
    bus.emit("cache.filled", data, id="a")
    bus.emit("cache.filled", id="b")
    assert instance.handle_new() == 2 and got == ["a", "b"]
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "billing.forget failed on cache.filled a" in record.message
    assert "a broadcast is not retried" in record.message


def test_an_error_shows_no_sensitive_value(
    bus: EventBus, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    @bus.on("card.changed", broadcast=True)
    def forget(event: Event[Any]) -> None:
        raise ValueError(f"no card {event.data['number']}")

    instance = listener(bus, store)
    bus.emit("card.changed", {"number": "4111-1111"}, sensitive=["number"])
    instance.handle_new()
    assert "no card" in caplog.text and "4111-1111" not in caplog.text


def test_filters_types_and_addresses_apply(bus: EventBus, store: Store) -> None:
    got: list[Any] = []

    @bus.on("cache.filled", broadcast=True, when=lambda event: event.data["n"] > 1)
    def forget(event: Event[dict[str, int]]) -> None:
        got.append(event.data["n"])

    instance = listener(bus, store)
    for n in range(4):
        bus.emit("cache.filled", {"n": n})
    bus.emit("cache.filled", {"n": "text"})
    bus.emit("cache.filled", {"n": 8}, handlers=["billing.charge"])
    bus.emit("cache.filled", {"n": 9}, handlers=["billing.forget"])
    with store.event_log.silence():
        store.event_log.append("cache", b"no event")
    instance.handle_new()
    assert got == [2, 3, 9]


def test_a_handler_that_demands_a_signature_is_not_called_without(
    bus: EventBus, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    _, public = generate("shop-1")
    strict = EventBus(service="strict", trusted_keys=json.dumps(public))
    got: list[str] = []

    @strict.on("cache.filled", broadcast=True, signed=True)
    def forget(event: Event[Any]) -> None:
        got.append(event.id)

    instance = listener(strict, store)
    bus.emit("cache.filled")
    instance.handle_new()
    assert got == [] and "strict.forget failed on cache.filled" in caplog.text


def test_a_coroutine_is_run_and_its_emits_have_the_event_as_cause(
    bus: EventBus, store: Store
) -> None:
    @bus.on("cache.filled", broadcast=True)
    async def forget(event: Event[Any]) -> None:
        await asyncio.sleep(0)
        await bus.aemit("cache.forgotten")

    instance = listener(bus, store)
    bus.emit("cache.filled", id="a")
    instance.handle_new()
    assert store.event_log.emitted[-1].event.causationid == "a"


def test_scopes_are_apart(bus: EventBus, store: Store, got: list[str]) -> None:
    @bus.on("cache.filled", broadcast="process")
    def forget_here(event: Event[Any]) -> None:
        got.append("process")

    of_worker, of_process = listener(bus, store, "worker"), listener(bus, store, "process")
    bus.emit("cache.filled", id="a")
    assert of_process.handle_new() == 1 and got == ["process"]
    assert of_worker.handle_new() == 1 and got == ["process", "a"]


def test_it_waits_while_redis_is_away_and_continues_where_it_stopped(
    bus: EventBus, store: Store, got: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = listener(bus, store)
    wait, fails = store.event_log.wait, [True, True]

    def away(*arguments: Any) -> Any:
        if fails:
            fails.pop()
            bus.emit("cache.filled", id=f"while away {len(fails)}")
            raise redis.ConnectionError("away")
        return wait(*arguments)

    monkeypatch.setattr(store.event_log, "wait", away)
    thread = threading.Thread(target=instance.run)
    thread.start()
    for _ in range(1000):
        if len(got) == 2:
            break
        threading.Event().wait(0.05)
    instance.stop()
    thread.join(2 * WAIT + 30)
    assert got == ["while away 1", "while away 0"] and not thread.is_alive()


def test_in_memory_each_service_is_one_instance(bus: EventBus, got: list[str]) -> None:
    handled: list[str] = []

    @bus.on("cache.filled")
    def durable(event: Event[Any]) -> None:
        handled.append(event.id)

    with in_memory(bus) as memory:
        bus.emit("cache.filled", id="a")
        memory.run_until_idle()
        memory.run_until_idle()
    assert got == handled == ["a"]
