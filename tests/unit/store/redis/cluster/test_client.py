"""The client of a cluster, on one of three nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from redis.exceptions import TryAgainError

from celeriac.store.redis import wakeup
from celeriac.store.redis.connection import open_async_client, open_client
from celeriac.store.redis.wakeup import StreamWaiter, open_stream_waiter
from celeriac.testing.ports import free_port
from celeriac.testing.server import EmbeddedServer
from devtools.cluster import EmbeddedCluster

TAGS = [f"{{tag{n}}}" for n in range(12)]


@pytest.fixture
def client(redis_cluster: EmbeddedCluster) -> Iterator[Any]:
    client = open_client(redis_cluster.url, answer_within=5)
    yield client
    client.close()


@pytest.fixture
def waiter(redis_cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch) -> StreamWaiter:
    """Its reads end long after the test. A second's pause of the process would end them else."""
    monkeypatch.setattr(wakeup, "LONGEST_WAIT_MS", 60_000)
    return open_stream_waiter(redis_cluster.url)


def owner(cluster: EmbeddedCluster, key: str) -> EmbeddedServer:
    """The node that serves the key now, according to the nodes."""
    slot = key_slot(key.encode())
    for node in cluster.masters:
        with cluster.client(node) as client:
            for line in client.execute_command("CLUSTER SLOTS"):
                if line[0] <= slot <= line[1]:
                    return next(n for n in cluster.masters if n.port == line[2][1])
    raise AssertionError(f"nobody serves {key}")


def agreed(cluster: EmbeddedCluster) -> bool:
    """Whether all nodes have the same of each other, and each has an epoch of its own. Two with the
    same would soon decide whose is newer, and then a slot may go back to the node it came from."""
    views, epochs = set(), set()
    for node in cluster.masters:
        with cluster.client(node) as client:
            nodes = client.execute_command("CLUSTER NODES").values()
        views.add(str(sorted((one["node_id"], one["epoch"], one["slots"]) for one in nodes)))
        epochs.add(len({one["epoch"] for one in nodes}))
    return len(views) == 1 and epochs == {len(cluster.masters)}


@contextmanager
def moving(cluster: EmbeddedCluster, key: str) -> Iterator[tuple[Any, Any]]:
    """Within, the slot of the key is on its way from the first to the second node, key by key."""
    deadline = time.monotonic() + 20
    while not agreed(cluster):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cluster.until_agreed(10)
    slot, source = key_slot(key.encode()), owner(cluster, key)
    target = next(node for node in cluster.masters if node is not source)
    with cluster.client(source) as old, cluster.client(target) as new:
        names = old.execute_command("CLUSTER MYID"), new.execute_command("CLUSTER MYID")
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[0])
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[1])
        try:
            yield old, new
        finally:
            move_keys(old, new, slot)
            for node in (new, old):
                node.execute_command("CLUSTER SETSLOT", slot, "NODE", names[1])


def move_keys(old: Any, new: Any, slot: int) -> None:
    port = new.connection_pool.connection_kwargs["port"]
    while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
        old.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)


def test_transactions_go_to_the_nodes_of_their_keys(client: Any, namespace: str) -> None:
    keys = [f"{namespace}:{tag}" for tag in TAGS]
    written = client.transact_many([[("SET", key, key), ("STRLEN", key)] for key in keys])
    assert [[b"OK", len(key)] for key in keys] == written


def test_opening_does_not_connect() -> None:
    open_client("redis+cluster://127.0.0.1:1", answer_within=1)


def test_no_node_at_all_is_a_connection_error(redis_url: str) -> None:
    client = open_client(f"redis+cluster://127.0.0.1:{free_port()}", answer_within=1)
    with pytest.raises(redis.ConnectionError, match="no node of the cluster answers"):
        client.get("a")


def test_a_server_that_is_no_cluster_is_an_error(redis_url: str) -> None:
    client = open_client(f"{redis_url}?cluster=true", answer_within=1)
    with pytest.raises(redis.ResponseError, match="is not a Redis Cluster"):
        client.get("a")


def test_one_seed_of_several_is_enough(redis_cluster: EmbeddedCluster) -> None:
    port = redis_cluster.masters[2].port
    client = open_client(f"redis+cluster://127.0.0.1:1,127.0.0.1:{port}", answer_within=1)
    assert len(list(client.masters())) == 3


def test_a_pipeline_answers_in_the_order_of_its_commands(client: Any) -> None:
    pipeline = client.pipeline(transaction=False)
    for number, tag in enumerate(TAGS):
        pipeline.set(f"{tag}:order", number)
    for tag in TAGS:
        pipeline.get(f"{tag}:order")
    answers = pipeline.execute()
    assert answers[len(TAGS) :] == [b"%d" % n for n in range(len(TAGS))]
    nodes = {client.node_of(f"{tag}:order") for tag in TAGS}
    assert len(nodes) == 3


def test_a_refused_command_of_a_pipeline_is_an_answer_of_its_own(client: Any) -> None:
    pipeline = client.pipeline(transaction=False)
    pipeline.set("{tag1}:text", "x").lpush("{tag1}:text", "y").get("{tag1}:text")
    done, refused, found = pipeline.execute(raise_on_error=False)
    assert (done, found) == (True, b"x")
    assert isinstance(refused, redis.ResponseError)


def test_a_transaction_of_several_slots_is_refused(client: Any) -> None:
    pipeline = client.pipeline(transaction=True)
    for tag in TAGS:
        pipeline.set(tag, 1)
    with pytest.raises(ValueError, match="must use one slot"):
        pipeline.execute()


def test_scanning_finds_the_keys_of_all_nodes(client: Any) -> None:
    for tag in TAGS:
        client.set(f"scan:{tag}", 1)
    assert set(client.scan_iter(match="scan:*")) == {f"scan:{tag}".encode() for tag in TAGS}


def test_a_slot_that_moved_is_followed(client: Any, redis_cluster: EmbeddedCluster) -> None:
    client.set("{moved}:a", 1)
    with moving(redis_cluster, "{moved}"):
        pass
    assert client.get("{moved}:a") == b"1"
    with moving(redis_cluster, "{moved}"):
        pass
    pipeline = client.pipeline(transaction=False)
    assert pipeline.get("{moved}:a").get("{tag1}:none").execute() == [b"1", None]


def test_a_named_key_is_found_while_its_slot_moves(
    client: Any, redis_cluster: EmbeddedCluster
) -> None:
    client.rpush("{moves}:list", 1)
    with moving(redis_cluster, "{moves}") as (old, new):
        assert client.rpush("{moves}:list", 2) == 2
        move_keys(old, new, key_slot(b"moves"))
        assert client.rpush("{moves}:list", 3) == 3
        assert client.pipeline(transaction=False).rpush("{moves}:list", 4).execute() == [4]
    assert client.lrange("{moves}:list", 0, -1) == [b"1", b"2", b"3", b"4"]


def test_a_script_waits_for_its_slot_and_makes_no_second_copy_of_its_keys(
    client: Any, redis_cluster: EmbeddedCluster
) -> None:
    """It names a key that never exists, so the old node would send each call to the new one."""
    script = "return redis.call('INCR', KEYS[1] .. 'count')"
    assert client.eval(script, 1, "{waits}:") == 1
    with moving(redis_cluster, "{waits}"):
        with pytest.raises(TryAgainError):
            client.eval(script, 1, "{waits}:")
        [answer] = (
            client.pipeline(transaction=False)
            .execute_command("EVAL", script, 1, "{waits}:")
            .execute(raise_on_error=False)
        )
        assert isinstance(answer, TryAgainError)
    assert client.eval(script, 1, "{waits}:") == 2


def test_a_coroutine_gets_the_answers_of_all_nodes(redis_cluster: EmbeddedCluster) -> None:
    async def answers() -> list[Any]:
        client = open_async_client(redis_cluster.url, answer_within=5)
        await client.set("{async}:a", 1)
        with moving(redis_cluster, "{async}"):
            pass
        found = [await client.get("{async}:a")]
        with moving(redis_cluster, "{async}"):
            pass
        pipeline = client.pipeline(transaction=False)
        for tag in ("{async}", *TAGS):
            pipeline.get(f"{tag}:a")
        found += await pipeline.execute()
        await client.aclose()
        return found

    assert asyncio.run(answers()) == [b"1", b"1", *[None] * len(TAGS)]


def test_streams_of_any_node_wake_waiting_dispatchers(client: Any, waiter: StreamWaiter) -> None:
    seen = {f"wakeup:{tag}": "0-0" for tag in TAGS}
    started = time.monotonic()
    assert waiter.wait(seen, 0.1) == {}
    assert time.monotonic() - started >= 0.1
    for tag in TAGS[:3]:
        entry = client.xadd(f"wakeup:{tag}", {"a": 1}).decode()
        assert waiter.wait(seen, 5) == {f"wakeup:{tag}": entry}
        seen[f"wakeup:{tag}"] = entry
    # Those that nobody woke are still being read, without a command more
    assert waiter.wait(seen, 0.1) == {}


def test_a_stream_that_is_new_wakes_too(client: Any, waiter: StreamWaiter) -> None:
    seen = {"{ring}:a": "0-0"}
    assert waiter.wait(seen, 0.05) == {}
    for _ in range(2):
        client.xadd("{ring}:b", {"a": 1})
    assert waiter.wait({**seen, "{ring}:b": "0-0"}, 5) == {"{ring}:b": None}, "not one alone"


def test_a_waiter_continues_where_the_slot_moved(
    client: Any, redis_cluster: EmbeddedCluster, waiter: StreamWaiter
) -> None:
    seen = {"{bell}:a": client.xadd("{bell}:a", {"a": 1}).decode()}
    assert waiter.wait(seen, 0.05) == {}
    with moving(redis_cluster, "{bell}"):
        pass
    entry = client.xadd("{bell}:a", {"a": 2}).decode()
    with pytest.raises(redis.RedisError):
        waiter.wait(seen, 5)  # the old node sent it away
    assert waiter.wait(seen, 5) == {"{bell}:a": entry}
