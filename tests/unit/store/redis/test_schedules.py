"""The clock of schedules, and what their script gets."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.bus_settings import BusSettings
from celeriac.event_log import EntryKind
from celeriac.invalid_record import InvalidRecords
from celeriac.schedule import make_schedule
from celeriac.settings import Settings
from celeriac.store.redis import schedules as module
from celeriac.store.redis.schedules import ASK_TIME_EVERY, RedisSchedules
from tests.unit.store.redis.scripted_server import ScriptedServer

SCHEDULE = make_schedule("order.due", service="reports", every=60)


class Clock:
    """The process's monotonic clock."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def opened(server: ScriptedServer, **given: Any) -> RedisSchedules:
    settings = Settings.load({}, **given)
    return RedisSchedules(settings, server, InvalidRecords(), BusSettings(settings))


def answers(monkeypatch: pytest.MonkeyPatch, script: str, answer: Any) -> list[Any]:
    calls: list[Any] = []

    def on_keys(client: Any, keys: Any, *args: Any) -> Any:
        calls.append(args)
        return answer

    monkeypatch.setattr(getattr(module, script), "on_keys", on_keys)
    return calls


def test_the_server_is_asked_for_its_time_at_an_interval(
    server: ScriptedServer, clock: Clock
) -> None:
    schedules = opened(server)
    assert 1_000_007 == schedules.now_ms()
    server.seconds = 5000  # its clock is set
    clock.now += ASK_TIME_EVERY - 1
    assert 1_000_007 + (ASK_TIME_EVERY - 1) * 1000 == schedules.now_ms()
    assert 1 == server.asked
    clock.now += 1
    assert 5_000_007 == schedules.now_ms()
    clock.now += ASK_TIME_EVERY - 1
    assert 5_000_007 + (ASK_TIME_EVERY - 1) * 1000 == schedules.now_ms()
    assert 2 == server.asked


def test_a_reply_has_the_server_s_time(
    server: ScriptedServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, "_declare", (b"", 7_000_000))
    schedules = opened(server)
    clock.now += 2 * ASK_TIME_EVERY
    schedules.declare(SCHEDULE, 1)
    assert (7_000_000, 0) == (schedules.now_ms(), server.asked)
    clock.now += 1
    assert (7_001_000, 0) == (schedules.now_ms(), server.asked)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param({}, [0], id="no tick"),
        pytest.param({"dropped": 3}, [3], id="dropped ticks"),
        pytest.param(
            {"tick_ms": 0, "body": b"x", "kind": EntryKind.FOREIGN}, [0, 0, b"x", ""], id="foreign"
        ),
    ],
)
def test_the_script_gets_the_window_in_milliseconds(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], sent: list[Any]
) -> None:
    calls = answers(monkeypatch, "_tick", (b"", 1, 5))
    opened(server, dedup_window=2.5).tick(SCHEDULE, expected_ms=1, next_ms=2, **given)
    [(field, definition, *times)] = calls
    assert (definition, [1, 2, 2500, *sent]) == (SCHEDULE.definition, times)
    assert "reports" in field


@pytest.mark.parametrize("record", [b"", b"x", b"x\n" + SCHEDULE.definition])
def test_a_record_that_cannot_be_read_belongs_to_nothing(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, record: bytes
) -> None:
    answers(monkeypatch, "_declare", (record, 5))
    assert (None, False, False) == opened(server).declare(SCHEDULE, 1)


@pytest.mark.parametrize(("appended", "is_fired"), [(0, False), (1, True)])
def test_a_tick_was_fired_by_the_call_that_appended_it(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, appended: int, is_fired: bool
) -> None:
    answers(monkeypatch, "_tick", (b"", appended, 5))
    ticked = opened(server).tick(SCHEDULE, expected_ms=1, next_ms=2)
    assert (None, False, is_fired) == ticked
