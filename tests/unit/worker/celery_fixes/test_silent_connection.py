"""A connection that timed out is closed without a second wait for its reply."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
import redis

from celeriac.testing.server import EmbeddedServer
from celeriac.worker.celery_fixes.silent_connection import close_if_silent

WAITS = 60  # seconds; the test ends long before
untyped: Any = kombu


@pytest.fixture
def connection(redis_server: EmbeddedServer) -> Iterator[Any]:
    """A connection whose channel has sent a BRPOP."""
    with untyped.Connection(
        redis_server.url, transport_options={"socket_timeout": WAITS}
    ) as connection:
        channel = connection.channel()
        queue = untyped.Queue("silent", channel=channel)
        untyped.Consumer(channel, queues=[queue], callbacks=[lambda body, message: None]).consume()
        channel.brpop_timeout = WAITS
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)
        assert channel._in_poll
        yield connection


def closing(connection: Any, error: Exception) -> threading.Thread:
    thread = threading.Thread(target=close_if_silent, args=(connection, error), daemon=True)
    thread.start()
    thread.join(WAITS / 4)
    return thread


def test_after_a_timeout_it_does_not_wait_for_the_reply(connection: Any) -> None:
    [channel] = connection.transport.channels
    sock = channel.client.connection._sock
    assert not closing(connection, redis.TimeoutError("Timeout reading from socket")).is_alive()
    assert channel._in_poll is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.getpeername()


@pytest.mark.parametrize("error", [redis.ConnectionError("reset"), ValueError("no message")])
def test_after_another_error_it_leaves_the_connection_alone(
    connection: Any, error: Exception
) -> None:
    [channel] = connection.transport.channels
    close_if_silent(connection, error)
    assert isinstance(channel.client.connection._sock, socket.socket)
    assert channel._in_poll
    channel.client.connection._sock.settimeout(0)  # for the end of the test


def test_a_connection_that_is_not_of_redis_is_left_to_celery() -> None:
    close_if_silent(
        untyped.Connection("memory://"), redis.TimeoutError("Timeout reading from socket")
    )
    close_if_silent(None, redis.TimeoutError("Timeout reading from socket"))
