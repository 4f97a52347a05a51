from __future__ import annotations

import socket

import pytest

from devtools.demo.processes import DemoFailed, next_free


def test_the_port_that_is_asked_for_is_taken_if_it_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert next_free(port) == port


def test_else_the_next_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert next_free(port) > port


def test_none_at_all_is_told_with_the_remedy() -> None:
    with pytest.raises(DemoFailed, match="Choose another with --port"):
        next_free(70_000)
