"""One connection that many coroutines write to at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from celeriac import EventBus
from celeriac.errors import BusUnavailable
from celeriac.store.redis.connection import open_async_client
from celeriac.store.redis.pipelined_connection import PipelinedConnection, parse_answer
from celeriac.testing.server import EmbeddedServer
from celeriac.transfer import MIN_BYTES_PER_S

T = TypeVar("T")


class Transport:
    """What was written, in its system calls."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def set_protocol(self, protocol: Any) -> None: ...


class Stream:
    def __init__(self) -> None:
        self.transport = Transport()


def connected(
    body: Callable[[PipelinedConnection, Transport], Awaitable[T]], within: float = 5.0
) -> T:
    async def run() -> T:
        connection, stream = PipelinedConnection(asyncio.get_running_loop(), within), Stream()
        connection.take_over(stream)  # type: ignore[arg-type]
        return await body(connection, stream.transport)

    return asyncio.run(run())


class Time:
    """The time of the running loop, which passes only here: a slow machine changes no result."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time()
        self._loop.time = lambda: self._now  # type: ignore[method-assign]

    async def passes(self, seconds: float) -> None:
        self._now += seconds
        for _ in range(3):  # timers that are due run
            await asyncio.sleep(0)


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    marks = [0, *sorted({cut % len(data) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(marks) if b > a]


@given(cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_answers_go_to_their_callers_however_the_network_cuts_them(cuts: list[int]) -> None:
    async def body(connection: PipelinedConnection, _: Transport) -> list[Any]:
        sent = [connection.send(b"a", 1), connection.send(b"b", 3), connection.send(b"c", 1)]
        answers = b"$3\r\n1-0\r\n:7\r\n-ERR no\r\n$-1\r\n+OK\r\n"
        for piece in pieces(answers, cuts):
            connection.data_received(piece)
        return [await one for one in sent]

    first, second, third = connected(body)
    assert (first, third) == ([b"1-0"], [b"OK"])
    assert (second[0], str(second[1]), second[2]) == (7, "no", None)
    assert isinstance(second[1], redis.ResponseError)


def test_what_is_sent_while_others_wait_goes_out_together() -> None:
    async def body(connection: PipelinedConnection, transport: Transport) -> list[bytes]:
        for packed in (b"a", b"b", b"c"):
            connection.send(packed, 1)
        await asyncio.sleep(0)
        return transport.written

    assert connected(body) == [b"a", b"bc"]


def test_a_caller_that_is_cancelled_leaves_the_answers_of_the_others() -> None:
    async def body(connection: PipelinedConnection, _: Transport) -> Any:
        cancelled, waiting = connection.send(b"a", 1), connection.send(b"b", 1)
        cancelled.cancel()
        connection.data_received(b":1\r\n:2\r\n")
        return await waiting

    assert connected(body) == [2]


def test_where_the_link_breaks_each_caller_gets_an_error_and_what_was_answered() -> None:
    async def body(connection: PipelinedConnection, _: Transport) -> list[Any]:
        sent = [connection.send(b"a", 3), connection.send(b"b", 1)]
        connection.data_received(b":1\r\n:2\r\n")
        connection.connection_lost(None)
        assert not connection.usable
        return await asyncio.gather(*sent, return_exceptions=True)

    first, second = connected(body)
    assert first is not second
    assert [type(one) for one in (first, second)] == [redis.ConnectionError] * 2
    assert (first.answers, second.answers) == ([1, 2], [])


@pytest.mark.parametrize("broken", [b"*1\r\n:1\r\n", b"$x\r\n", b"?\r\n"])
def test_an_answer_that_is_none_of_an_append_breaks_the_connection(broken: bytes) -> None:
    async def body(connection: PipelinedConnection, transport: Transport) -> None:
        sent = connection.send(b"a", 1)
        connection.data_received(broken)
        with pytest.raises(redis.ConnectionError):
            await sent
        assert transport.closed

    connected(body)


def test_silence_is_a_time_out_and_an_answer_is_none() -> None:
    async def body(connection: PipelinedConnection, _: Transport) -> None:
        time = Time()
        sent = connection.send(b"a", 3)
        for _number in range(2):
            await time.passes(0.06)
            connection.data_received(b":1\r\n")
        await time.passes(0.09)
        assert not sent.done()
        await time.passes(0.02)
        with pytest.raises(redis.TimeoutError) as caught:
            await sent
        assert caught.value.answers == [1, 1]  # type: ignore[attr-defined]

    connected(body, within=0.1)


def test_the_time_out_grows_with_the_bytes_on_their_way() -> None:
    async def body(connection: PipelinedConnection, _: Transport) -> None:
        time = Time()
        sent = connection.send(b"x" * (MIN_BYTES_PER_S // 2), 1)
        await time.passes(0.5)
        assert not sent.done()
        await time.passes(0.02)
        with pytest.raises(redis.TimeoutError):
            await sent

    connected(body, within=0.01)


@pytest.mark.parametrize("refusal", [b"-READONLY no\r\n", b"-UNBLOCKED no\r\n"])
def test_a_server_that_became_a_replica_is_left(refusal: bytes) -> None:
    async def body(connection: PipelinedConnection, transport: Transport) -> None:
        sent, other = connection.send(b"a", 1), connection.send(b"b", 1)
        connection.data_received(refusal)
        assert (connection.usable, transport.closed) == (False, False)
        connection.data_received(refusal)
        assert transport.closed  # once the last answer has come
        await asyncio.gather(sent, other)

    connected(body)


def test_a_retired_connection_closes_when_it_is_idle() -> None:
    async def body(connection: PipelinedConnection, transport: Transport) -> None:
        sent = connection.send(b"a", 1)
        connection.retire()
        assert not transport.closed
        connection.data_received(b":1\r\n")
        assert transport.closed
        assert await sent == [1]

    connected(body)


def test_parts_of_an_answer_are_none_yet() -> None:
    for part in (b"", b"$", b"$3\r\n1", b"$3\r\n1-0\r"):
        assert parse_answer(bytearray(part), 0) is None


@pytest.mark.parametrize(
    ("raw", "answer"),
    [(b"+OK", b"OK"), (b":-7", -7), (b"$0\r\n", b""), (b"$3\r\na\r\n", b"a\r\n"), (b"$-1", None),
     (b"_", None)],
)  # fmt: skip
def test_an_answer_ends_where_the_next_begins(raw: bytes, answer: Any) -> None:
    received = bytearray(b":1\r\n" + raw + b"\r\n:2\r\n")
    assert (4 + len(raw) + 2, answer) == parse_answer(received, 4)


def test_many_coroutines_share_one_connection(redis_server: EmbeddedServer) -> None:
    bus = EventBus(redis_url=redis_server.url, namespace="pipelined", source="t")
    client = bus.service.backend.event_log.client  # type: ignore[attr-defined]
    # Those of other tests on this server, which may have appended last.
    others = {one["id"] for one in client.client_list()}

    async def run() -> list[str]:
        await asyncio.gather(*(bus.aemit("order.placed", n) for n in range(200)))
        return [one["cmd"] for one in client.client_list() if one["id"] not in others]

    assert asyncio.run(run()).count("xadd") == 1
    assert bus.service.backend.event_log.length("order") == 200


def test_without_a_server_each_caller_gets_its_own_error() -> None:
    client = open_async_client("redis://127.0.0.1:1/0", answer_within=1)

    async def run() -> list[Any]:
        try:
            return await asyncio.gather(
                *(client.send(b"a", 1) for _ in range(3)), return_exceptions=True
            )
        finally:
            await client.aclose()

    errors = asyncio.run(run())
    assert len({id(error) for error in errors}) == 3
    assert all(isinstance(error.__cause__, ConnectionRefusedError) for error in errors)


def test_the_error_without_a_connection_states_that_nothing_was_written() -> None:
    bus = EventBus(redis_url="redis://127.0.0.1:1/0", source="t", emit_timeout=0.1)

    async def run() -> None:
        with pytest.raises(BusUnavailable) as caught:
            await bus.aemit("order.placed", 1)
        assert caught.value.nothing_written

    asyncio.run(run())


def test_a_connection_that_the_server_closed_is_made_again(redis_server: EmbeddedServer) -> None:
    bus = EventBus(redis_url=redis_server.url, namespace="killed", source="t")

    async def run() -> None:
        for _ in range(3):
            await bus.aemit("order.placed", 1)
            client = bus.service.backend.event_log.client  # type: ignore[attr-defined]
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    asyncio.run(run())
    assert bus.service.backend.event_log.length("order") == 3


class Frozen:
    """A server that accepts connections and then reads nothing."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.socket.getsockname()[1]}"


@pytest.fixture
def frozen() -> Iterator[Frozen]:
    server = Frozen()
    with server.socket:
        yield server


def test_callers_that_wait_for_a_connection_fail_when_the_client_is_closed(frozen: Frozen) -> None:
    """They were not cancelled, so nothing may end them as if they were."""

    async def main() -> None:
        client = open_async_client(frozen.url, answer_within=60)
        sending = asyncio.create_task(client.send(b"*1\r\n$4\r\nPING\r\n", 1))
        while client._opening is None:
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(redis.ConnectionError, match="closed"):
            await sending

    asyncio.run(main())


def test_a_cancelled_caller_that_waits_for_a_connection_ends_as_cancelled(frozen: Frozen) -> None:
    async def main() -> None:
        client = open_async_client(frozen.url, answer_within=60)
        sending = asyncio.create_task(client.send(b"*1\r\n$4\r\nPING\r\n", 1))
        await asyncio.sleep(0)
        assert client._opening is not None
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await client.aclose()

    asyncio.run(main())


def test_callers_that_wait_for_a_frozen_server_fail_when_the_client_is_closed(
    frozen: Frozen,
) -> None:
    async def main() -> None:
        _, writer = await asyncio.open_connection(*frozen.socket.getsockname())
        connection = PipelinedConnection(asyncio.get_running_loop(), 60)
        connection.take_over(writer)
        sent = connection.send(b"x" * 50_000_000, 1)  # more than the buffers of both sockets
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(redis.ConnectionError):
            await asyncio.wait_for(sent, 20)

    asyncio.run(main())
