"""The estimate of the server's clock, and when it is corrected."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from celeriac.store.redis.server_clock import ServerClock, is_wrong_clock
from tests.unit.store.redis.scripted_server import ScriptedServer

WRONG = ResponseError("CLOCK no key of this minute")


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The process's monotonic clock: its last value counts."""
    times = [50.0]
    monkeypatch.setattr("time.monotonic", lambda: times[-1])
    return times


def test_the_server_is_asked_once(server: ScriptedServer, passed: list[float]) -> None:
    clock = ServerClock(server)
    assert 1_000_007 == clock.now_ms()
    passed.append(51.5)
    assert (1_001_507, 1) == (clock.now_ms(), server.asked)
    clock.note(5)
    passed.append(52.0)
    assert (505, 1) == (clock.now_ms(), server.asked)
    clock.forget()
    assert (1_000_007, 2) == (clock.now_ms(), server.asked)


@pytest.mark.parametrize(
    ("replies", "calls", "asks"),
    [([7], 1, False), ([WRONG, 7], 2, True), ([WRONG, WRONG], 2, True),
     ([ResponseError("ERR other"), 7], 1, False)],
)  # fmt: skip
def test_a_call_with_a_wrong_estimate_is_repeated_once(
    server: ScriptedServer, replies: list[Any], calls: int, asks: bool
) -> None:
    clock, called = ServerClock(server), list[int]()
    clock.note(5)

    def call() -> Any:
        called.append(clock.now_ms())
        reply = replies[len(called) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply

    if replies[calls - 1] == 7:
        assert 7 == clock.corrected(call)
    else:
        with pytest.raises(ResponseError):
            clock.corrected(call)
    assert (calls, asks) == (len(called), server.asked == 1)


@pytest.mark.parametrize(
    ("answer", "is_wrong"),
    [(WRONG, True), (ResponseError("ERR CLOCK"), False), ("CLOCK", False), (b"CLOCK", False),
     (None, False)],
)  # fmt: skip
def test_only_an_error_reports_a_wrong_estimate(answer: Any, is_wrong: bool) -> None:
    assert is_wrong is is_wrong_clock(answer)
