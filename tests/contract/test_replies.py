"""Replies reach the process that waits for them, until it ends its request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from celeriac.reply import ReplyStore, RequestEnd, RequestOutcome
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
    replies.open("m1", "t.asked", TTL)
    assert replies.is_open("m1")
    assert replies.wait("m1", START, 0.01) == ([], START)
    assert replies.push("m1", b"a", "t.asked") and replies.push("m1", b"b", "t.asked")
    bodies, position = replies.wait("m1", START, 1)
    assert bodies == [b"a", b"b"]
    # A wait whose answer was lost is repeated.
    assert replies.wait("m1", START, 1) == (bodies, position)
    assert replies.wait("m1", position, 0.01).bodies == []
    replies.push("m1", b"c", "t.asked")
    assert replies.wait("m1", position, 1).bodies == [b"c"]


def test_a_request_that_ended_gets_no_reply(replies: ReplyStore) -> None:
    assert not replies.push("m1", b"a", "t.asked") and not replies.is_open("m1")
    replies.open("m1", "t.asked", TTL)
    replies.push("m1", b"a", "t.asked")
    position = replies.wait("m1", START, 1).position
    replies.push("m1", b"b", "t.asked")
    assert replies.close("m1", position) == [b"b"]
    assert replies.close("m1", position) == []
    assert not replies.push("m1", b"c", "t.asked") and not replies.is_open("m1")
    assert replies.wait("m1", START, 0.01).bodies == []


def test_opening_again_keeps_what_came(replies: ReplyStore) -> None:
    """As after a lost answer."""
    replies.open("m1", "t.asked", TTL)
    replies.push("m1", b"a", "t.asked")
    replies.open("m1", "t.asked", TTL)
    assert replies.close("m1", START) == [b"a"]


def test_mailboxes_are_apart(replies: ReplyStore) -> None:
    for name in ("m1", "m2"):
        replies.open(name, "t.asked", TTL)
        replies.push(name, name.encode(), "t.asked")
    assert replies.close("m1", START) == [b"m1"]
    assert replies.wait("m2", START, 1).bodies == [b"m2"]


def test_a_mailbox_that_is_not_closed_expires(replies: ReplyStore) -> None:
    if isinstance(replies, MemoryReplies):
        pytest.skip("it ends with the process")
    replies.open("m1", "t.asked", 50)
    replies.push("m1", b"a", "t.asked")
    time.sleep(0.2)
    assert not replies.is_open("m1") and not replies.push("m1", b"b", "t.asked")


def test_a_wait_ends_with_the_reply(make_replies: Callable[[], ReplyStore]) -> None:
    waiting, sending = make_replies(), make_replies()
    if isinstance(waiting, MemoryReplies):
        pytest.skip("it runs handlers while it waits: see unit/emitter/test_request")
    waiting.open("m1", "t.asked", TTL)
    timer = threading.Timer(0.3, lambda: sending.push("m1", b"a", "t.asked"))
    began = time.monotonic()
    timer.start()
    assert waiting.wait("m1", START, 60).bodies == [b"a"]
    assert 0.2 < time.monotonic() - began < 30
    timer.join()


def test_coroutines_wait_concurrently(replies: ReplyStore) -> None:
    async def ask(name: str) -> list[bytes]:
        await replies.aopen(name, "t.asked", TTL)
        assert (await replies.await_replies(name, START, 0.01)).bodies == []
        await asyncio.to_thread(replies.push, name, name.encode(), "t.asked")
        waited = await replies.await_replies(name, START, 5)
        await asyncio.to_thread(replies.push, name, b"late", "t.asked")
        return waited.bodies + await replies.aclose(name, waited.position)

    async def ask_many() -> list[list[bytes]]:
        return list(await asyncio.gather(*(ask(f"m{n}") for n in range(20))))

    expected = [[f"m{n}".encode(), b"late"] for n in range(20)]
    assert asyncio.run(ask_many()) == expected
    assert not replies.is_open("m1")


def ended(mailbox: str, outcome: RequestOutcome, took_us: int = 0) -> RequestEnd:
    return RequestEnd(mailbox, "t.asked", outcome, took_us)


def test_requests_are_counted_by_type_and_outcome(replies: ReplyStore) -> None:
    assert replies.stats() == {}
    for name in ("m1", "m2", "m3", "m4"):
        replies.open(name, "t.asked", TTL)
    replies.open("m5", "u.asked", TTL)
    replies.count_end(ended("m1", RequestOutcome.REPLIED, 3_000))
    replies.count_end(ended("m2", RequestOutcome.REPLIED, 900_000))
    replies.count_end(ended("m3", RequestOutcome.TIMED_OUT))
    stats = replies.stats()
    assert {type: of_type.pending for type, of_type in stats.items()} == {
        "t.asked": 1,
        "u.asked": 1,
    }
    of_type = stats["t.asked"]
    assert of_type.outcomes == {RequestOutcome.REPLIED: 2, RequestOutcome.TIMED_OUT: 1}
    assert (of_type.took.count, of_type.took.sum_us) == (2, 903_000)


def test_a_request_is_counted_once_though_its_calls_are_repeated(replies: ReplyStore) -> None:
    """As after a lost answer."""
    for _ in range(2):
        replies.open("m1", "t.asked", TTL)
    assert replies.stats()["t.asked"].pending == 1
    for outcome in (RequestOutcome.FAILED, RequestOutcome.REPLIED):
        replies.count_end(ended("m1", outcome))
    stats = replies.stats()["t.asked"]
    assert (stats.pending, stats.outcomes) == (0, {RequestOutcome.FAILED: 1})
    replies.count_end(ended("never-begun", RequestOutcome.REPLIED))
    assert replies.stats()["t.asked"] == stats


def test_a_reply_without_a_mailbox_is_counted_as_late(replies: ReplyStore) -> None:
    replies.open("m1", "t.asked", TTL)
    assert replies.push("m1", b"a", "t.asked")
    assert replies.stats()["t.asked"].late == 0
    replies.close("m1", START)
    assert not replies.push("m1", b"b", "t.asked")
    assert replies.stats()["t.asked"].late == 1


def test_a_request_whose_process_died_fails_when_it_expires(replies: ReplyStore) -> None:
    if isinstance(replies, MemoryReplies):
        pytest.skip("it ends with the process")
    replies.open("m1", "t.asked", 1)
    replies.open("m2", "t.asked", TTL)
    while replies.stats()["t.asked"].pending == 2:
        time.sleep(0.005)
    stats = replies.stats()["t.asked"]
    assert (stats.pending, stats.outcomes) == (1, {RequestOutcome.FAILED: 1})
    replies.count_end(ended("m1", RequestOutcome.REPLIED))
    assert replies.stats()["t.asked"].outcomes == {RequestOutcome.FAILED: 1}


def test_coroutines_are_counted_too(replies: ReplyStore) -> None:
    async def ask() -> None:
        await replies.aopen("m1", "t.asked", TTL)
        await replies.acount_end(ended("m1", RequestOutcome.REPLIED, 5_000))
        await replies.aopen("m2", "t.asked", TTL)

    asyncio.run(ask())
    stats = replies.stats()["t.asked"]
    assert (stats.pending, stats.count(RequestOutcome.REPLIED)) == (1, 1)


def test_the_number_of_counted_types_is_limited(make_replies: Callable[[], ReplyStore]) -> None:
    replies = make_replies()
    if not isinstance(replies, RedisReplies):
        pytest.skip("it ends with the process")
    key = replies.keys.request_counts
    full = {f"t{n}.asked begun": 1 for n in range(10_000)}
    replies.client.hset(key, mapping=full)
    replies.open("m1", "one.more", TTL)
    replies.open("m2", "t1.asked", TTL)
    stats = replies.stats()
    assert "one.more" not in stats
    assert (stats["other"].pending, stats["t1.asked"].pending) == (1, 1)
    replies.count_end(RequestEnd("m1", "one.more", RequestOutcome.REPLIED))
    assert replies.stats()["other"].outcomes == {RequestOutcome.REPLIED: 1}


def test_statistics_that_cannot_be_written_fail_no_request(
    make_replies: Callable[[], ReplyStore],
) -> None:
    replies = make_replies()
    if not isinstance(replies, RedisReplies):
        pytest.skip("a dictionary can be written")
    replies.client.set(replies.keys.request_counts, "not a hash")
    replies.open("m1", "t.asked", TTL)
    assert replies.push("m1", b"a", "t.asked")
    assert replies.close("m1", START) == [b"a"]
    replies.count_end(ended("m1", RequestOutcome.REPLIED))
    assert not replies.push("m1", b"b", "t.asked")
    assert replies.stats() == {}
