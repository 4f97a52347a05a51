"""Requests to a real server."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from celeriac.push.address import AddressRefused
from celeriac.push.answer import MAX_BODY, Answer
from celeriac.push.connection import FAILURES, Connections, PublicBackend, Target
from tests.http_endpoint import Answered, HttpEndpoint


def post(
    url: str, *, connections: Any = Connections, timeout: float = 10, **options: Any
) -> Answer:
    async def request() -> Answer:
        async with aclosing(connections()) as opened:
            target = Target(httpx.URL(url), timeout, **options)
            answer: Answer = await opened.post(target, {"content-type": "text/plain"}, b"hello")
            return answer

    return asyncio.run(request())


def test_a_request_has_the_path_the_query_and_the_body(endpoint: HttpEndpoint) -> None:
    endpoint.answer = lambda request: Answered(503, {"Retry-After": "5"}, b"busy")
    assert post(f"{endpoint.url}/a%20b?c=d") == Answer(503, "5", b"busy")
    [request] = endpoint.received
    assert (request.target, request.body) == ("/a%20b?c=d", b"hello")
    assert request.headers["host"] == f"127.0.0.1:{endpoint.port}"
    assert request.headers["content-length"] == "5"


def test_a_connection_is_used_again(endpoint: HttpEndpoint) -> None:
    async def requests() -> None:
        async with aclosing(Connections()) as connections:
            for _ in range(3):
                await connections.post(Target(httpx.URL(endpoint.url), 10), {}, b"")

    asyncio.run(requests())
    assert (len(endpoint.received), endpoint.connections) == (3, 1)


def test_the_connections_of_a_process_are_bounded(
    endpoint: HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.push.connection.MAX_CONNECTIONS", 3)
    endpoint.answer = lambda request: Answered(delay=0.02)

    async def requests() -> None:
        target = Target(httpx.URL(endpoint.url), 10)
        async with aclosing(Connections()) as connections:
            await asyncio.gather(*(connections.post(target, {}, b"") for _ in range(20)))

    asyncio.run(requests())
    assert (len(endpoint.received), endpoint.most_open) == (20, 3)


def test_no_redirect_is_followed(endpoint: HttpEndpoint) -> None:
    endpoint.answer = lambda request: Answered(307, {"Location": f"{endpoint.url}/other"})
    assert post(endpoint.url).status == 307
    assert len(endpoint.received) == 1


def test_only_the_beginning_of_a_body_is_read(endpoint: HttpEndpoint) -> None:
    size = 50_000_000
    endpoint.answer = lambda request: Answered(400, {"content-length": str(size)}, b"x" * 100_000)
    answer = post(endpoint.url)
    assert (len(answer.body), answer.is_cut) == (MAX_BODY, True)


def test_the_timeout_is_one_for_the_whole_request(endpoint: HttpEndpoint) -> None:
    """An endpoint that sends its answer byte by byte does not extend it."""
    endpoint.answer = lambda request: Answered(200, {"content-length": "99"}, b"x")
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        post(endpoint.url, timeout=0.3)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("answered", [Answered(drops=True)])
def test_a_connection_that_is_closed_without_an_answer_is_a_failure(
    endpoint: HttpEndpoint, answered: Answered
) -> None:
    endpoint.answer = lambda request: answered
    with pytest.raises(FAILURES):
        post(endpoint.url)


def test_an_endpoint_that_refuses_connections_or_has_no_name_is_a_failure() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(FAILURES):
            post(f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(FAILURES):
        post("http://no-such-name.invalid", is_guarded=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]",
             "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]"]
)  # fmt: skip
def test_a_guarded_request_reaches_no_private_address(endpoint: HttpEndpoint, host: str) -> None:
    with pytest.raises(AddressRefused):
        post(f"http://{host}:{endpoint.port}/", is_guarded=True)
    assert endpoint.connections == 0


class Rebinding:
    """A resolver that changes its answer after the first one."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.calls = list(answers), 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.calls += 1
        return self.answers[min(self.calls, len(self.answers)) - 1]


def test_the_address_that_was_checked_is_connected_to(
    endpoint: HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name is resolved once, so a later private answer is not used."""
    monkeypatch.setattr("celeriac.push.address.is_public", lambda address: address == "127.0.0.1")
    resolver = Rebinding(["127.0.0.1"], ["127.0.0.2"])
    answer = post(
        f"http://hook.example:{endpoint.port}/",
        connections=lambda: Connections(PublicBackend(resolver)),
        is_guarded=True,
    )
    assert (answer.status, resolver.calls) == (200, 1)
    assert endpoint.received[0].headers["host"] == f"hook.example:{endpoint.port}"


def test_each_new_connection_is_checked(endpoint: HttpEndpoint) -> None:
    resolver = Rebinding(["127.0.0.1"])
    with pytest.raises(AddressRefused):
        post(
            f"http://hook.example:{endpoint.port}/",
            connections=lambda: Connections(PublicBackend(resolver)),
            is_guarded=True,
        )
    assert endpoint.connections == 0


def test_the_next_address_is_tried_if_one_does_not_answer(
    endpoint: HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.push.address.is_public", lambda address: True)
    resolver = Rebinding(["127.0.0.99", "127.0.0.1"])
    answer = post(
        f"http://hook.example:{endpoint.port}/",
        connections=lambda: Connections(PublicBackend(resolver)),
        is_guarded=True,
    )
    assert answer.status == 200
