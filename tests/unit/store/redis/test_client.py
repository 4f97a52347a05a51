"""A client that keeps its connections: over threads, forks, failures and a server that closes."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from celeriac.store.redis.client import FRESH
from celeriac.store.redis.connection import open_client

PING = b"*1\r\n$4\r\nPING\r\n"


@pytest.fixture
def client(redis_url: str) -> Any:
    return open_client(redis_url, answer_within=5)


def test_one_connection_serves_one_command_after_another(client: Any) -> None:
    assert len({client.client_id() for _ in range(20)}) == 1


def test_a_failed_connection_has_no_internal_error_in_its_traceback() -> None:
    nowhere = open_client("redis://127.0.0.1:1/0", answer_within=1)
    with pytest.raises(redis.ConnectionError) as raised:
        nowhere.ping()
    error: BaseException | None = raised.value
    while error is not None:
        assert not isinstance(error, IndexError)
        error = error.__context__


def test_answers_are_those_of_redis_py(client: Any, namespace: str) -> None:
    client.hset(namespace, "a", "1")
    assert client.hgetall(namespace) == {b"a": b"1"}
    assert client.ping() is True


def test_a_refused_command_leaves_its_connection_as_it_was(client: Any, namespace: str) -> None:
    before = client.client_id()
    client.set(namespace, "text")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        client.xlen(namespace)
    assert client.client_id() == before


def test_many_commands_are_answered_in_order_and_a_refusal_is_one_of_the_answers(
    client: Any, namespace: str
) -> None:
    first, refused, last = client.execute_many(
        [("SET", namespace, "text"), ("XLEN", namespace), ("GET", namespace)]
    )
    assert (first, last) == (b"OK", b"text")
    assert isinstance(refused, ResponseError)


def test_transactions_are_answered_each_for_itself(client: Any, namespace: str) -> None:
    answers = client.transact_many(
        [
            [("SET", namespace, "text"), ("XLEN", namespace), ("GET", namespace)],
            [("SET", namespace, "other"), ("NOSUCHCOMMAND", namespace)],
            [("GET", namespace)],
        ]
    )
    first, refused, last = answers[0]
    assert (first, last) == (b"OK", b"text")
    assert isinstance(refused, ResponseError)
    assert "unknown command" in str(answers[1])
    assert [b"text"] == answers[2]
    assert [] == client.transact_many([])


def test_while_answers_are_awaited_others_use_another_connection(client: Any) -> None:
    answers = client.send(PING * 2, 2)
    assert client.ping() is True
    assert [b"PONG", b"PONG"] == answers.result()


def test_a_command_interrupted_half_way_spoils_no_later_one(redis_url: str, namespace: str) -> None:
    """The late answer of the first must not be read as that of the next."""
    client: Any = open_client(redis_url, answer_within=0.1)
    with pytest.raises(redis.TimeoutError):
        client.execute_command("BLPOP", namespace, 0)
    assert client.ping() is True


def test_a_connection_that_the_server_closed_is_opened_again(client: Any, redis_url: str) -> None:
    closed = client.client_id()
    open_client(redis_url, answer_within=5).client_kill_filter(_id=closed)
    time.sleep(2 * FRESH)  # rested longer than it is trusted unasked
    assert client.client_id() != closed


def test_a_lost_connection_is_an_error_once(client: Any, redis_url: str) -> None:
    closed = client.client_id()
    open_client(redis_url, answer_within=5).client_kill_filter(_id=closed)
    for _ in range(2):
        try:
            assert client.client_id() != closed
            return
        except redis.ConnectionError:
            pass
    raise AssertionError("it did not connect anew")


def test_what_is_forgotten_in_a_circle_closes_its_connections(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unclosed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    gc.collect()  # what earlier tests left
    monkeypatch.setattr(sys, "unraisablehook", unclosed.append)

    def forget_in_a_circle() -> None:
        forgotten = open_client(redis_url, answer_within=5)
        forgotten.client_setname("forgotten")
        circle: list[Any] = [forgotten]
        circle.append(circle)
        forgotten.circle = circle

    for _ in range(20):
        forget_in_a_circle()
    gc.collect()
    assert [] == unclosed
    other = open_client(redis_url, answer_within=5)
    assert "forgotten" not in {one["name"] for one in other.client_list()}


def test_threads_never_read_each_others_answers(client: Any, namespace: str) -> None:
    wrong: list[object] = []

    def ask(number: int) -> None:
        for n in range(200):
            said = f"{number} {n}".encode()
            if client.echo(said) != said:
                wrong.append(said)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong


def test_a_forked_child_has_a_connection_of_its_own(client: Any) -> None:
    mine = client.client_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(client.client_id()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        theirs = int(pipe.read())
    os.waitpid(child, 0)
    assert theirs != mine
    assert client.client_id() == mine


def test_a_pipeline_gets_along_with_one_connection_at_most(redis_url: str) -> None:
    client: Any = open_client(f"{redis_url}?max_connections=1", answer_within=5)
    client.ping()
    with client.pipeline(transaction=False) as pipeline:
        pipeline.ping()
        assert [True] == pipeline.execute()
    assert client.ping() is True


def test_a_demoted_master_keeps_no_connection_of_this_client(
    client: Any, redis_url: str, namespace: str
) -> None:
    """Its address may name another master by now, which only a new connection reaches."""
    other: Any = open_client(redis_url, answer_within=5)
    asked = b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n"
    one, two = client.send(asked, 1), client.send(asked, 1)
    own = {str(id) for reply in (one, two) for id in reply.result()}
    assert 2 == len(own & {one["id"] for one in other.client_list()})
    with pytest.raises(ResponseError):
        # As a replica says it.
        client.eval("return redis.error_reply('READONLY You cannot write')", 0)
    assert not own & {one["id"] for one in other.client_list()}
    assert client.ping() is True


@pytest.mark.parametrize(
    "run", [lambda client: client.ping(), lambda client: client.execute_many([("PING",)])]
)
def test_an_interrupted_command_closes_its_connection_which_is_opened_again(
    client: Any, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    before = client.client_id()
    [(connection, _)] = client._idle
    with monkeypatch.context() as patch:
        patch.setattr(connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(client)
    assert [connection] == [idle for idle, _ in client._idle]
    assert before != client.client_id()
    assert [connection] == [idle for idle, _ in client._idle]
