"""Appending below and at the limit, without the contract that other stores share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.errors import LogFull
from celeriac.event_log import EntryKind, Item
from celeriac.settings import Settings
from celeriac.store.redis.bounded_event_log import BoundedRedisEventLog, backlog_of
from celeriac.store.redis.event_log import redis_event_log


class Interrupted(BaseException):
    """As a time limit raises it, without knowledge of what was appended."""


def opened(settings: Settings, max_backlog: int, **given: Any) -> BoundedRedisEventLog:
    given = {"redis_url": settings.redis_url, "namespace": settings.namespace, **given}
    event_log = redis_event_log(Settings.load({}, max_backlog=max_backlog, **given))
    assert isinstance(event_log, BoundedRedisEventLog)
    return event_log


def items(count: int) -> list[Item]:
    return [("order", b"%d" % n, EntryKind.MADE, 0) for n in range(count)]


BOUNDED = pytest.mark.parametrize("max_backlog", [0, 100])


@BOUNDED
@pytest.mark.parametrize("count", [0, 1, 3])
def test_all_are_appended_in_order(settings: Settings, max_backlog: int, count: int) -> None:
    event_log = opened(settings, max_backlog)
    assert count == event_log.append_many(items(count))
    assert [b"%d" % n for n in range(count)] == [entry.body for entry in event_log.read("order")]


@BOUNDED
def test_an_interruption_has_how_many_were_appended(
    settings: Settings, max_backlog: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.transfer.PORTION_BYTES", 1)
    event_log = opened(settings, max_backlog)
    append_portion, portions = event_log._append_portion, iter(range(9))

    def append_two(items: Any) -> None:
        if next(portions) == 2:
            raise Interrupted
        append_portion(items)

    monkeypatch.setattr(event_log, "_append_portion", append_two)
    with pytest.raises(Interrupted) as raised:
        event_log.append_many(items(3))
    assert 2 == raised.value.appended == event_log.length("order")  # type: ignore[attr-defined]


def test_a_full_log_is_checked_again_after_pauses(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = opened(settings, 1, emit_timeout=5)
    event_log.join("order", "billing.charge", "0")
    event_log.append("order", b"0")
    paused: list[float] = []

    def sleep(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 3:
            event_log.leave("order", "billing.charge")

    own = SimpleNamespace(sleep=sleep)
    monkeypatch.setattr("celeriac.store.redis.bounded_event_log.time", own)
    event_log.append("order", b"1")
    event_log.append_delayed("order", b"2", delay_ms=0, at_ms=None)
    assert 3 == len(paused)
    assert 2 == event_log.length("order")


def test_a_full_log_refuses_delayed_events(settings: Settings) -> None:
    event_log = opened(settings, 1, log_full="raise")
    event_log.join("order", "billing.charge", "0")
    event_log.append("order", b"0")
    with pytest.raises(LogFull):
        event_log.append_delayed("order", b"1", delay_ms=0, at_ms=None)
    assert (1, "billing.charge") == (event_log.backlog("order").events, backlog(event_log))
    assert 0 == event_log.delayed("order")


def backlog(event_log: BoundedRedisEventLog) -> str:
    return event_log.backlog("order").handler


def test_a_backlog_is_read_from_the_reply_of_its_script() -> None:
    assert (7, "a.b") == (backlog_of([7, b"a.b"]).events, backlog_of([7, b"a.b"]).handler)
