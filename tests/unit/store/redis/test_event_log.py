"""What the log on Redis has to withstand and the one in memory cannot meet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ResponseError

from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from celeriac.store.redis.event_log import RedisEventLog


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def event_log(request: pytest.FixtureRequest, settings: Settings) -> Iterator[RedisEventLog]:
    url = f"{settings.redis_url}?protocol={request.param}"
    yield RedisEventLog(replace(settings, redis_url=url))


def test_waiting_understands_the_answer(event_log: RedisEventLog) -> None:
    newest = [event_log.append("order", b"%d" % n) for n in range(3)][-1]
    other = event_log.append("payment", b"x")
    seen = event_log.wait({"order": "0", "wakeup order": "0", "payment": "0"}, 1)
    assert {"order": newest, "wakeup order": "0", "payment": other} == seen
    assert seen == event_log.wait(seen, 0.01)
    event_log.append_delayed("order", b"x", delay_ms=0, at_ms=None)
    assert "0" != event_log.wait(seen, 1)["wakeup order"]


def test_groups_are_read_with_and_without_pending_entries(event_log: RedisEventLog) -> None:
    for name in ("b.idle", "a.busy"):
        event_log.join("order", name, "0")
    entry = event_log.append("order", b"{}")
    event_log.client.xreadgroup("a.busy", "queued:w1", {event_log.keys.events("order"): ">"})
    busy, idle = event_log.groups("order")
    assert ("a.busy", 1, 0, {"queued:w1": 1}, entry) == (
        busy.handler, busy.pending, busy.lag, busy.holders, busy.oldest_pending
    )  # fmt: skip
    assert ("b.idle", 0, 1, {}, None) == (
        idle.handler, idle.pending, idle.lag, idle.holders, idle.oldest_pending
    )  # fmt: skip
    assert ("0-0", entry) == (idle.last_delivered, busy.last_delivered)


def test_an_entry_without_an_event_has_no_body(event_log: RedisEventLog) -> None:
    event_log.client.xadd(event_log.keys.events("order"), {"data": "x"})
    assert [None] == [entry.body for entry in event_log.read("order")]


def test_of_many_that_were_not_all_appended_the_error_has_how_many_were(
    event_log: RedisEventLog,
) -> None:
    event_log.client.set(event_log.keys.events("odd"), "no stream")
    with pytest.raises(ResponseError, match="WRONGTYPE") as told:
        event_log.append_many(
            [(name, b"1", EntryKind.MADE, 0) for name in ("order", "odd", "order")]
        )
    assert 1 == told.value.appended  # type: ignore[attr-defined]


def test_only_streams_of_the_own_namespace_are_discovered(event_log: RedisEventLog) -> None:
    mine = event_log.keys.namespace
    event_log.client.xadd(f"{mine}:{{order}}:events", {"event": "{}"})
    event_log.client.xadd(f"{mine}x:{{other}}:events", {"event": "{}"})
    event_log.client.set(f"{mine}:{{text}}:events", "no stream")
    assert {"order"} == event_log.discover()


def test_other_errors_than_a_group_that_is_there_are_raised(event_log: RedisEventLog) -> None:
    with pytest.raises(ResponseError, match="Invalid stream ID"):
        event_log.join("odd", "billing.charge", "no id")


def test_a_log_of_another_type_is_reported_and_not_joined(event_log: RedisEventLog) -> None:
    event_log.client.set(event_log.keys.events("odd"), "no stream")
    assert not event_log.join("odd", "billing.charge", "0")
    assert [event_log.keys.events("odd")] == [one.key for one in event_log.invalid]


def test_consumers_long_gone_are_removed_unless_they_have_deliveries(
    event_log: RedisEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log.join("order", "billing.charge", "0")
    key, group = event_log.keys.events("order"), "billing.charge"
    event_log.append("order", b"{}")
    event_log.client.xreadgroup(group, "queued:holds", {key: ">"})
    event_log.client.xgroup_createconsumer(key, group, "queued:gone")
    assert 0 == event_log.remove_idle_consumers("order")
    monkeypatch.setattr("celeriac.store.redis.event_log.FORGET_CONSUMER_AFTER_MS", -1)
    assert 1 == event_log.remove_idle_consumers("order")
    consumers = event_log.client.xinfo_consumers(key, group)
    assert [b"queued:holds"] == [consumer["name"] for consumer in consumers]


def test_of_forgotten_domains_the_newest_are_kept(
    event_log: RedisEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.store.redis.event_log.MAX_FORGOTTEN", 2)
    for domain in ("a", "b", "c"):
        assert event_log.forget_domain(domain, 0)
        time.sleep(0.002)
    assert {"b", "c"} == event_log.forgotten()


def test_a_group_without_a_stream_is_not_left(event_log: RedisEventLog) -> None:
    assert event_log.leave("order", "billing.charge") is False
    event_log.join("order", "billing.charge", "0")
    assert event_log.leave("order", "billing.charge") is True


def test_delayed_events_are_listed_from_a_start_up_to_a_count(event_log: RedisEventLog) -> None:
    for n in range(4):
        event_log.append_delayed("order", b"%d" % n, delay_ms=None, at_ms=4_000_000_000_000 + n)
    times = [(4_000_000_000_000 + n, b"%d" % n) for n in range(4)]
    assert times == event_log.upcoming("order")
    assert times[1:3] == event_log.upcoming("order", start=1, count=2)
    assert [] == event_log.upcoming("order", start=4)


def test_a_domain_that_is_not_empty_is_not_forgotten(event_log: RedisEventLog) -> None:
    event_log.append("order", b"{}")  # by a producer that did not announce the domain
    assert event_log.forget_domain("order", 0) is False
    assert frozenset() == event_log.forgotten()


def test_actions_are_kept_as_long_as_dead_letters(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log, calls = RedisEventLog(replace(settings, dead_retention=2.5)), []

    def run(*arguments: Any) -> int:
        calls.append(arguments[-2:])
        return 1

    monkeypatch.setattr(event_log._known_groups, "run", run)
    assert event_log.forget_domain("order", 70)
    assert [(70, 2500)] == calls


def test_a_discovered_domain_is_registered_beyond_the_limit(settings: Settings) -> None:
    event_log = RedisEventLog(replace(settings, max_domains=1))
    event_log.register_domains(["payment"])
    event_log.append("order", b"{}")
    assert {"order"} == event_log.discover()
    assert {"order", "payment"} == event_log.domains()
    assert frozenset() == event_log.discover()
