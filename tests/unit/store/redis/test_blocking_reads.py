"""Which connections a blocking read leaves usable, and what its reply wakes."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.store.redis.blocking_reads import BlockingRead, newest_in

ONE, TWO = [[b"1-1", [b"a", b"x"]]], [[b"1-1", [b"a", b"x"]], [b"2-1", [b"a", b"y"]]]


class Connection:
    """A connection, its client and its pool: what became of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @property
    def connection_pool(self) -> Connection:
        return self

    def disconnect(self) -> None:
        self.calls.append("disconnect")

    def release(self, connection: Any) -> None:
        assert connection is self
        self.calls.append("release")


@pytest.mark.parametrize(
    ("answered", "calls"), [(True, ["release"]), (False, ["disconnect", "release"])]
)
def test_a_connection_with_an_unread_reply_is_closed(answered: bool, calls: list[str]) -> None:
    connection = Connection()
    BlockingRead(connection, connection, {}, 0.0).close(answered=answered)
    assert calls == connection.calls


@pytest.mark.parametrize(
    ("answer", "woken"),
    [
        (None, {}),
        ([], {}),
        ({}, {}),
        ([[b"a", ONE], [b"b", TWO]], {"a": "1-1", "b": None}),
        ({b"a": ONE, b"b": TWO}, {"a": "1-1", "b": None}),
    ],
)
def test_a_stream_with_several_new_entries_has_no_newest(answer: Any, woken: Any) -> None:
    assert woken == newest_in(answer)
