"""Which refusals of Redis pass, and what a caller may conclude from one."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from celeriac.errors import BusUnavailable, LogFull
from celeriac.store.redis.connection import explain, is_transient, persist
from celeriac.store.redis.refusal import (
    TEMPORARY,
    is_demotion,
    nothing_written,
    refusal_code,
    temporary_refusal,
)

URL = "redis://:secret@h:6379/0"
PLAIN = [
    "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.",
    "NOREPLICAS Not enough good replicas to write.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "UNBLOCKED force unblock from blocking operation, instance state changed",
    "NOMASTERLINK Can't SYNC while not connected with my master",
    "NOGOODSLAVE No suitable replica to promote",
]
TYPED = [
    BusyLoadingError("Redis is loading the dataset in memory"),
    ReadOnlyError("You can't write against a read only replica."),
    MasterDownError("Link with MASTER is down"),
    ClusterDownError("The cluster is down"),
    TryAgainError("Multiple keys request during rehashing of slot"),
    MovedError("3999 127.0.0.1:6381"),
    AskError("3999 127.0.0.1:6381"),
]
PASS = [*map(ResponseError, PLAIN), *TYPED]


@pytest.mark.parametrize("error", PASS, ids=lambda error: refusal_code(error))
def test_a_temporary_refusal_is_transient_and_wrote_nothing(error: redis.RedisError) -> None:
    assert temporary_refusal(error) in TEMPORARY.values()
    assert is_transient(error)
    assert nothing_written(error)


@pytest.mark.parametrize("text", PLAIN)
def test_a_refusal_within_a_pipeline_is_known_by_its_code(text: str) -> None:
    """As redis-py reports it of a pipeline; kombu declares queues in one."""
    error = ResponseError(f"Command # 1 (SADD _kombu.binding.a b) of pipeline caused error: {text}")
    assert refusal_code(error) == text.split()[0]
    assert is_transient(error)


@pytest.mark.parametrize(
    "text",
    [
        "BUSYGROUP Consumer Group name already exists",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "NOPERM this user has no permissions",
        "ERR unknown command",
        "NOGROUP No such key",
    ],
)
def test_other_refusals_stay(text: str) -> None:
    assert not temporary_refusal(ResponseError(text))
    assert not is_transient(ResponseError(text))


@pytest.mark.parametrize("error", PASS, ids=lambda error: refusal_code(error))
def test_the_command_is_repeated_until_redis_takes_it(error: redis.RedisError) -> None:
    answers = iter([error, error, None])

    def call() -> str:
        if failure := next(answers):
            raise failure
        return "done"

    assert "done" == persist(call, url=URL, seconds=5)


def test_a_lasting_refusal_states_that_nothing_was_written() -> None:
    def refuse() -> None:
        raise ResponseError(PLAIN[0])

    with pytest.raises(BusUnavailable, match=r"cannot write to its disk.*Nothing was") as e:
        persist(refuse, url=URL, seconds=0.1)
    assert e.value.nothing_written
    assert "secret" not in str(e.value)


def test_after_a_lost_reply_a_refusal_does_not_state_that_nothing_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    # Real time could pass before the second try.
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr("celeriac.store.redis.connection.time", clock)
    failures = iter([redis.TimeoutError("no answer")])

    def refuse() -> None:
        raise next(failures, ResponseError(PLAIN[1]))

    with pytest.raises(BusUnavailable, match="may have been written: emit again") as e:
        persist(refuse, url=URL, seconds=0.1)
    assert not e.value.nothing_written


@pytest.mark.parametrize("text", ["OOM command not allowed", "WRONGTYPE Operation against a key"])
def test_nor_does_a_refusal_that_stays(text: str) -> None:
    """LogFull would promise it."""
    failures = iter([redis.TimeoutError("no answer")])

    def refuse() -> None:
        raise next(failures, ResponseError(text))

    with pytest.raises(BusUnavailable, match="may have been written") as e:
        persist(refuse, url=URL, seconds=5)
    assert not e.value.nothing_written
    assert "othing was written" not in str(e.value)


def test_a_script_that_failed_half_way_may_have_written(redis_url: str, namespace: str) -> None:
    script = "redis.call('SET', KEYS[1], 1) return redis.call('LPUSH', KEYS[1], 1)"
    client = redis.Redis.from_url(redis_url)
    with pytest.raises(ResponseError, match="WRONGTYPE") as caught:
        client.eval(script, 1, f"{namespace}:half")
    assert not nothing_written(caught.value)
    with pytest.raises(ResponseError, match="WRONGTYPE") as caught:
        client.lpush(f"{namespace}:half", 1)
    assert nothing_written(caught.value)


@pytest.mark.parametrize(
    "error", [MovedError("3999 127.0.0.1:6381"), AskError("3999 127.0.0.1:6381")]
)
def test_a_cluster_whose_slot_moved_is_not_away(error: ResponseError) -> None:
    told = explain(error, url=URL, tries=3, seconds=2)
    assert isinstance(told, BusUnavailable) and told.nothing_written
    assert "moved a slot of the cluster to another node" in str(told)
    assert "Nothing was written" in str(told) and "cannot reach" not in str(told)


def test_a_connection_that_was_never_made_wrote_nothing() -> None:
    client = redis.Redis(port=1)
    with pytest.raises(redis.ConnectionError) as caught:
        client.ping()
    assert nothing_written(caught.value)
    assert not nothing_written(redis.ConnectionError("Connection closed by server."))
    assert not nothing_written(redis.TimeoutError("Timeout reading from socket"))


def test_a_connection_that_took_too_long_to_make_wrote_nothing() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(4):  # a full backlog: the kernel answers no further connection
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        options: Any = {"port": port, "socket_connect_timeout": 0.05, "retry": None}

        async def ping() -> None:
            await redis.asyncio.Redis(**options).ping()

        for call in (redis.Redis(**options).ping, lambda: asyncio.run(ping())):
            with pytest.raises(redis.TimeoutError) as caught:
                call()
            assert nothing_written(caught.value)


def test_a_result_waits_for_memory_and_an_emit_does_not() -> None:
    answers = iter([OutOfMemoryError("command not allowed"), None])

    def call() -> str:
        if failure := next(answers):
            raise failure
        return "done"

    with pytest.raises(LogFull):
        persist(lambda: (_ for _ in ()).throw(OutOfMemoryError("x")), url=URL, seconds=5)
    assert "done" == persist(call, url=URL, seconds=5, wait_for_memory=True)


def test_a_demotion_is_detected_by_the_error_of_a_replica() -> None:
    assert is_demotion(ReadOnlyError("You can't write against a read only replica."))
    assert is_demotion(ResponseError(PLAIN[3]))
    assert not is_demotion(ResponseError(PLAIN[0]))
