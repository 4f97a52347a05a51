"""What readers make of records of both generations, and of those that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.delivery import DeliveryState, Group
from celeriac.delivery.record import History
from celeriac.event import EmittedEvents
from celeriac.invalid_record import MAX_TIME_MS
from celeriac.settings import Settings
from celeriac.store.redis.delivery_reader import RedisDeliveryReader
from celeriac.store.redis.event_log import RedisEventLog

GROUP = Group("order", "billing.charge")
ROW = b"processed 1000-0 %d 5 7"
LINE = b'{"attempt": %d, "at": 5, "error": "boom"}'


@pytest.fixture
def reader(settings: Settings) -> RedisDeliveryReader:
    return RedisDeliveryReader(settings)


def store(reader: RedisDeliveryReader, keys: tuple[str, str], current: Any, older: Any) -> None:
    for key, fields in zip(keys, (current, older), strict=True):
        reader.client.hset(key, mapping=fields)


def invalid_fields(reader: RedisDeliveryReader) -> list[tuple[str, str]]:
    return [(record.key, record.field) for record in reader.invalid]


def test_the_row_of_the_current_generation_holds(reader: RedisDeliveryReader) -> None:
    keys = reader.keys.matrix(GROUP.domain, GROUP.handler)
    store(
        reader, keys,
        {"": "5 60000", "a": ROW % 1, "bad": b"x"}, {"": "4 60000", "a": ROW % 2, "b": ROW % 3},
    )  # fmt: skip
    a, none, bad, mark, b = reader.rows(GROUP, ["a", "none", "bad", "", "b"])
    assert (None, None, None) == (none, bad, mark)
    assert a is not None and b is not None
    assert (1, 3) == (a.attempt, b.attempt)
    assert (DeliveryState.PROCESSED, "1000-0", 1005, 7) == (a.state, a.entry, a.at_ms, a.took_us)
    assert [(keys[0], "bad")] == invalid_fields(reader)
    assert [] == reader.rows(GROUP, [])


def test_the_history_of_the_current_generation_holds(reader: RedisDeliveryReader) -> None:
    keys = reader.keys.failures(GROUP.domain, GROUP.handler)
    store(reader, keys, {"": "5 60000", "a": LINE % 1, "bad": b"x"}, {"a": LINE % 2, "b": LINE % 3})
    histories = reader.histories(GROUP, ["a", "none", "bad", "", "b"])
    attempts = [[failure.attempt for failure in history.failures] for history in histories]
    assert [[1], [], [], [], [3]] == attempts
    assert [(keys[0], "bad")] == invalid_fields(reader)
    assert [] == reader.histories(GROUP, [])
    assert ["boom"] == [failure.error for failure in reader.failures(GROUP, "a")]
    assert History() == reader.history(GROUP, "none")


def test_emitted_events_of_the_current_generation_hold(reader: RedisDeliveryReader) -> None:
    keys = reader.keys.emitted_events(GROUP.domain, GROUP.handler)
    store(reader, keys, {"": "x y", "a": b"order.paid k1\n+2"}, {"a": b"+9", "b": b"+3"})
    a, none, mark, b = reader.emitted_events(GROUP, ["a", "none", "", "b"])
    assert [("order.paid", "k1")] == [(event.type, event.key) for event in a.named]
    assert (2, EmittedEvents(), EmittedEvents(), 3) == (a.unnamed, none, mark, b.unnamed)
    assert [] == reader.emitted_events(GROUP, [])


def test_counters_of_the_last_minutes_are_those_of_each_minute(
    reader: RedisDeliveryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader.client, "time", lambda: (60 * 1000 + 59, 0))
    other = Group("order", "billing.other")
    for minute, count in ((939, 1), (940, 2), (941, 3), (999, 4), (1000, 5), (1001, 6)):
        key = reader.keys.counters(GROUP.domain, GROUP.handler, minute)
        reader.client.hset(key, "order.placed processed", count)
    mine, none = reader.counters_by_minute([GROUP, other], 2)
    processed = {minute: of["order.placed"].processed for minute, of in mine.items()}
    assert ({999: 4, 1000: 5}, {999: {}, 1000: {}}) == (processed, none)
    [hour] = reader.counters_by_minute([GROUP], 90)
    assert [941, 1000, 60] == [min(hour), max(hour), len(hour)]
    assert {941, 999, 1000} == {minute for minute, of in hour.items() if of}
    assert [] == reader.counters([])


def test_invalid_numbers_are_reported(reader: RedisDeliveryReader) -> None:
    key = reader.keys.stats(GROUP.domain, GROUP.handler)
    reader.client.hset(key, mapping={"processed": 3, "dead": "x"})
    assert {"processed": 3} == reader.stats(GROUP)
    assert [(key, "dead")] == invalid_fields(reader)


@pytest.mark.parametrize(
    ("times", "blocked"),
    [
        ({}, None),
        ({"throttled": {"a": 7, "b": 9}}, 7),
        ({"quiet_until": {"a": 5}}, 5),
        ({"throttled": {"a": 7}, "quiet_until": {"a": 8}}, 7),
        ({"throttled": {"a": 9}, "quiet_until": {"a": 8}}, 8),
    ],
)
def test_keys_are_blocked_until_the_first_of_their_times(
    reader: RedisDeliveryReader, times: dict[str, dict[str, int]], blocked: int | None
) -> None:
    for name, members in times.items():
        reader.client.zadd(reader.keys.flow_key(name, GROUP.domain, GROUP.handler), members)
    assert blocked == reader.blocked_until_ms(GROUP)


@pytest.mark.parametrize(("ahead_ms", "wait_ms"), [(None, 0), ("x", 0), (0, 0), (60_000, 500)])
def test_the_wait_of_a_rate_limit_is_that_of_its_arrival_time(
    reader: RedisDeliveryReader, monkeypatch: pytest.MonkeyPatch, ahead_ms: Any, wait_ms: int
) -> None:
    monkeypatch.setattr(reader.client, "time", lambda: (1000, 0))
    if ahead_ms is not None:
        at = ahead_ms if ahead_ms == "x" else 1_000_000 + ahead_ms
        reader.client.set(reader.keys.rate("billing.charge"), at)
    assert wait_ms == reader.rate_wait_ms("billing.charge", 2.0)


def test_records_are_kept_for_the_window(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = RedisDeliveryReader(Settings.load({}, redis_url=settings.redis_url, dedup_window=2.5))
    monkeypatch.setattr(reader.client, "time", lambda: (1000, 7000))
    assert (2500, 1_000_007 - 2500) == (reader.window_ms, reader.kept_since_ms())


def test_due_deliveries_are_counted_up_to_a_time(reader: RedisDeliveryReader) -> None:
    other = Group("order", "billing.other")
    for group, times in ((GROUP, (1, 2, 3)), (other, (3,))):
        key = reader.keys.scheduled(group.domain, group.handler)
        reader.client.zadd(key, {f"{at}-0": at for at in times})
    assert [2, 0] == reader.due_until([GROUP, other], 2)
    assert (3, []) == (reader.due(GROUP), reader.due_until([], 2))


def test_sources_are_listed_newest_first(reader: RedisDeliveryReader) -> None:
    reader.client.zadd(reader.keys.sources("order"), {"old": 1, b"\xff": 3, "new": 2})
    assert ["\ufffd", "new", "old"] == reader.sources("order")


def test_pending_deliveries_have_their_time_and_their_lost_runs(
    settings: Settings, reader: RedisDeliveryReader
) -> None:
    event_log = RedisEventLog(settings)
    event_log.join("order", GROUP.handler, "0")
    first, second, third = [event_log.append("order", b"{}") for _ in range(3)]
    stream = {reader.keys.events("order"): ">"}
    reader.client.xreadgroup(GROUP.handler, "queued:w1", stream, count=2)
    reader.client.xreadgroup(GROUP.handler, "running:w2", stream)
    times = {first: -5, third: MAX_TIME_MS + 5}
    reader.client.zadd(reader.keys.scheduled("order", GROUP.handler), times)
    lost = {second: 2, third: "x"}
    reader.client.hset(reader.keys.lost_runs("order", GROUP.handler), mapping=lost)
    pending = reader.pending_between(GROUP, "-", "+")
    assert [
        (first, "queued:w1", 0, 0, 0), (second, "queued:w1", 0, None, 2),
        (third, "running:w2", 0, MAX_TIME_MS, 0),
    ] == [(p.entry, p.owner, p.attempts, p.due_ms, p.lost_runs) for p in pending]  # fmt: skip
    assert [first, second] == [p.entry for p in reader.pending_between(GROUP, first, second)]
    assert [first] == [p.entry for p in reader.pending_between(GROUP, "-", "+", 1)]
    owned = reader.pending_between(GROUP, "-", "+", owner="running:w2")
    assert [third] == [p.entry for p in owned]
    assert second == getattr(reader.pending(GROUP, second), "entry", None)
    assert reader.pending(GROUP, "9-9") is None
    assert [] == reader.pending_between(Group("order", "gone"), "-", "+")


KEYED = {
    "1-1": b"+p1\0k",
    "2-1": b"-p2\0k",
    "3-1": b"-p3\0k",
    "4-1": b"+p4\0other",
    "odd": b"+p\0k",
}
BLOCKED = [b"k\0p2\x002-1", b"k\0p3\x003-1", b"k\0p1\0odd", b"other\0p4\x005-1"]


@pytest.mark.parametrize(
    ("entry", "earlier"),
    [
        ("1-1", []),  # has a slot
        ("2-1", ["1-1"]),
        ("3-1", ["1-1", "2-1"]),
        ("9-1", []),
    ],
)
def test_deliveries_before_a_blocked_one_are_started_or_blocked(
    reader: RedisDeliveryReader, entry: str, earlier: list[str]
) -> None:
    keyed, blocked, *_ = reader.keys.of_flow(GROUP.domain, GROUP.handler)
    reader.client.hset(keyed, mapping=KEYED)
    reader.client.zadd(blocked, dict.fromkeys(BLOCKED, 0))
    assert earlier == reader.earlier_in_sequence(GROUP, entry)
    reader.client.zrem(blocked, b"k\0p3\x003-1")
    assert [] == reader.earlier_in_sequence(GROUP, "3-1")  # waits for its time
