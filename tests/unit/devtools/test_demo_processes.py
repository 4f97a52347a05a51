from __future__ import annotations

import socket

import pytest

from celeriac.testing.ports import free_port
from devtools.demo.processes import DemoFailed, reserve


def port_of(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port


@pytest.fixture
def free() -> int:
    return free_port()  # not one that the next outgoing connection could have


def test_the_port_that_is_wanted_is_reserved_if_it_is_free(free: int) -> None:
    with reserve(free) as reserved:
        assert free == port_of(reserved)


def test_a_server_listens_on_the_reserved_port(free: int) -> None:
    with (
        reserve(free) as reserved,
        socket.create_server(("127.0.0.1", port_of(reserved))),
        socket.create_connection(("127.0.0.1", free), timeout=5),
    ):
        assert free == port_of(reserved)


def test_two_demos_that_start_together_get_two_ports(free: int) -> None:
    with reserve(free) as first, reserve(free) as second:
        assert port_of(first) < port_of(second)


def test_a_port_that_is_in_use_is_left_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, reserve(port_of(taken)) as reserved:
        assert port_of(taken) < port_of(reserved)


def test_without_a_free_port_the_error_has_the_remedy() -> None:
    with pytest.raises(DemoFailed, match="Choose another with --port"):
        reserve(70_000)
