"""What `script_watch` finds on a real server. On the server that the suite runs on, every test of
the suite watches: see `make_store`."""

from __future__ import annotations

import pytest
import redis

from tests.contract.script_watch import faults, watched


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


def test_keys_that_are_declared_are_counted(client: redis.Redis, redis_url: str) -> None:
    with watched(redis_url) as watch:
        client.eval("redis.call('MGET', KEYS[1], KEYS[2]); redis.call('TIME')", 2, "a", 'b"\n\xff')
    assert (watch.seen, faults(watch)) == (2, [])


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("redis.call('GET', KEYS[1] .. 'x')", "get b'ax'"),
        ("redis.pcall('GET', ARGV[1])", "get b'c'"),
        ("redis.call('MGET', KEYS[1], 'd')", "mget b'd'"),
        ("redis.pcall('XINFO', 'STREAM', 'd')", "xinfo b'd'"),
        ("redis.pcall('XREADGROUP', 'GROUP', 'g', 'w', 'STREAMS', 'd', '>')", "xreadgroup b'd'"),
        ("redis.pcall('RENAME', KEYS[1], 'd')", "rename b'd'"),
    ],
)
def test_a_key_that_is_not_declared_is_found(
    client: redis.Redis, redis_url: str, source: str, fault: str
) -> None:
    with watched(redis_url) as watch:
        client.eval(source, 1, "a", "c")
    assert [fault] == faults(watch)


def test_each_script_is_held_to_its_own_keys(client: redis.Redis, redis_url: str) -> None:
    source = "return redis.call('GET', ARGV[1])"
    with watched(redis_url) as watch:
        pipeline = client.pipeline(transaction=True)
        pipeline.eval(source, 1, "a", "a")
        pipeline.get("c")
        pipeline.eval(source, 1, "b", "a")
        pipeline.execute()
    assert (watch.seen, faults(watch)) == (2, ["get b'a'"])
