"""The proxy, each of its faults on a real connection."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from devtools.faults.proxy import Proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                try:
                    while data := connection.recv(1024):
                        connection.sendall(data)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as proxy:
        yield proxy


@pytest.fixture
def unclosed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is collected without having been closed, of what the test opened."""
    found: list[Any] = []
    gc.collect()
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    # What was there before need not be looked at each time.
    gc.freeze()
    yield found
    gc.unfreeze()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def said(connection: socket.socket) -> bytes:
    connection.sendall(b"hello")
    return connection.recv(1024)


def test_it_forwards_both_ways(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        assert said(connection) == b"hello"


def test_slow_delays_each_way(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.slow(0.1)
        began = time.monotonic()
        assert said(connection) == b"hello"
        assert time.monotonic() - began >= 0.2


def test_half_open_is_silence_for_old_connections_only(proxy: Proxy) -> None:
    with connect(proxy) as old:
        assert said(old) == b"hello"
        assert proxy.half_open() == 1
        old.settimeout(0.2)
        with pytest.raises(TimeoutError):
            said(old)
        with connect(proxy) as new:
            assert said(new) == b"hello"


def test_cut_resets_what_is_there_and_refuses_more_until_restored(proxy: Proxy) -> None:
    with connect(proxy) as old:
        assert said(old) == b"hello"
        proxy.cut()
        assert not answers(old)
        with connect(proxy) as refused:
            assert not answers(refused)
        proxy.restore()
        with connect(proxy) as new:
            assert said(new) == b"hello"


def answers(connection: socket.socket) -> bool:
    try:
        return bool(said(connection))
    except ConnectionError:
        return False


def test_it_leaves_no_socket_open_whatever_was_under_way_when_it_ended(
    echo: int, unclosed: list[Any]
) -> None:
    for cut in [False, True] * 5:
        with ExitStack() as stack:
            with Proxy(echo) as proxy:
                for _ in range(6):
                    connection = stack.enter_context(socket.socket())
                    connection.setblocking(False)
                    connection.connect_ex(("127.0.0.1", proxy.port))
                if cut:
                    proxy.cut()
            del proxy
            gc.collect()
    assert [] == unclosed


def test_it_leaves_none_open_of_those_that_came_while_it_ended(
    echo: int, unclosed: list[Any]
) -> None:
    for number in range(60):
        with ExitStack() as connections, ExitStack() as stack, Proxy(echo) as proxy:
            flood = Flood(connections, proxy.port)
            stack.callback(flood.end)
            time.sleep(number / 15_000)  # another moment each time
        del proxy
        gc.collect()
    assert [] == unclosed


class Flood:
    """Opens one connection after the other, also while the proxy ends."""

    def __init__(self, stack: ExitStack, port: int) -> None:
        self._stack, self._port = stack, port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.0003):
            connection = self._stack.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", self._port))

    def end(self) -> None:
        self._over.set()
        self._thread.join()
