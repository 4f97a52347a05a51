"""Ports for servers of tests."""

from __future__ import annotations

import socket

import pytest

from celeriac.testing import ports
from celeriac.testing.ports import PORTS, free_port


def test_a_free_port_is_not_one_of_outgoing_connections() -> None:
    assert {True} == {free_port() in PORTS for _ in range(20)}


def test_a_port_in_use_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken, free = server.getsockname()[1], free_port()
        monkeypatch.setattr(ports, "PORTS", [taken] * 99 + [free])
        assert free == free_port()


def test_without_a_free_port_of_the_range_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr(ports, "PORTS", [taken] * 100)
        assert taken != free_port()
