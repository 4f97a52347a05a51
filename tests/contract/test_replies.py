"""Replies reach the process that waits for them, until it ends its request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from celeriac.reply import ReplyStore
from celeriac.reply.store import START
from celeriac.settings import Settings
from celeriac.store.memory.replies import MemoryReplies
from celeriac.store.redis.connection import service_client
from celeriac.store.redis.replies import RedisReplies
from tests.contract.script_watch import faults, watched

TTL = 60_000


@pytest.fixture(params=["memory", "redis", "cluster"])
def make_replies(request: pytest.FixtureRequest, namespace: str) -> Any:
    if request.param == "memory":
        yield MemoryReplies
        return
    is_cluster = request.param == "cluster"
    server = request.getfixturevalue("redis_cluster" if is_cluster else "redis_server")
    settings = Settings.load({}, redis_url=server.url, namespace=namespace)

    def make() -> ReplyStore:
        return RedisReplies(settings, service_client(settings))

    if is_cluster:
        yield make
        return
    with watched(server.url) as watch:
        yield make
    assert [] == faults(watch)


@pytest.fixture
def replies(make_replies: Callable[[], ReplyStore]) -> ReplyStore:
    return make_replies()


def test_replies_are_read_in_their_order_and_once(replies: ReplyStore) -> None:
    replies.open("m1", TTL)
    assert replies.is_open("m1")
    assert replies.wait("m1", START, 0.01) == ([], START)
    assert replies.push("m1", b"a") and replies.push("m1", b"b")
    bodies, position = replies.wait("m1", START, 1)
    assert bodies == [b"a", b"b"]
    # A wait whose answer was lost is repeated.
    assert replies.wait("m1", START, 1) == (bodies, position)
    assert replies.wait("m1", position, 0.01).bodies == []
    replies.push("m1", b"c")
    assert replies.wait("m1", position, 1).bodies == [b"c"]


def test_a_request_that_ended_gets_no_reply(replies: ReplyStore) -> None:
    assert not replies.push("m1", b"a") and not replies.is_open("m1")
    replies.open("m1", TTL)
    replies.push("m1", b"a")
    position = replies.wait("m1", START, 1).position
    replies.push("m1", b"b")
    assert replies.close("m1", position) == [b"b"]
    assert replies.close("m1", position) == []
    assert not replies.push("m1", b"c") and not replies.is_open("m1")
    assert replies.wait("m1", START, 0.01).bodies == []


def test_opening_again_keeps_what_came(replies: ReplyStore) -> None:
    """As after a lost answer."""
    replies.open("m1", TTL)
    replies.push("m1", b"a")
    replies.open("m1", TTL)
    assert replies.close("m1", START) == [b"a"]


def test_mailboxes_are_apart(replies: ReplyStore) -> None:
    for name in ("m1", "m2"):
        replies.open(name, TTL)
        replies.push(name, name.encode())
    assert replies.close("m1", START) == [b"m1"]
    assert replies.wait("m2", START, 1).bodies == [b"m2"]


def test_a_mailbox_that_nobody_closes_expires(replies: ReplyStore) -> None:
    if isinstance(replies, MemoryReplies):
        pytest.skip("it ends with the process")
    replies.open("m1", 50)
    replies.push("m1", b"a")
    time.sleep(0.2)
    assert not replies.is_open("m1") and not replies.push("m1", b"b")


def test_a_wait_ends_with_the_reply(make_replies: Callable[[], ReplyStore]) -> None:
    waiting, sending = make_replies(), make_replies()
    if isinstance(waiting, MemoryReplies):
        pytest.skip("it runs handlers while it waits: see unit/emitter/test_request")
    waiting.open("m1", TTL)
    timer = threading.Timer(0.3, lambda: sending.push("m1", b"a"))
    began = time.monotonic()
    timer.start()
    assert waiting.wait("m1", START, 30).bodies == [b"a"]
    assert 0.2 < time.monotonic() - began < 1
    timer.join()


def test_coroutines_wait_too_and_beside_each_other(replies: ReplyStore) -> None:
    async def ask(name: str) -> list[bytes]:
        await replies.aopen(name, TTL)
        assert (await replies.await_replies(name, START, 0.01)).bodies == []
        await asyncio.to_thread(replies.push, name, name.encode())
        waited = await replies.await_replies(name, START, 5)
        await asyncio.to_thread(replies.push, name, b"late")
        return waited.bodies + await replies.aclose(name, waited.position)

    async def ask_many() -> list[list[bytes]]:
        return list(await asyncio.gather(*(ask(f"m{n}") for n in range(20))))

    expected = [[f"m{n}".encode(), b"late"] for n in range(20)]
    assert asyncio.run(ask_many()) == expected
    assert not replies.is_open("m1")
