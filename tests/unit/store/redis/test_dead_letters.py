"""Dead letters as Redis stores them, and the audit log of operators."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.delivery import Group
from celeriac.delivery.archive_replay import ArchiveReplay
from celeriac.errors import NotFound
from celeriac.invalid_record import MAX_TIME_MS
from celeriac.settings import Settings
from celeriac.store.redis.archive_replay import parse_archive_replay
from celeriac.store.redis.dead_letters import RedisDeadLetters

GROUP = Group("order", "billing.charge")


@pytest.fixture
def dead_letters(settings: Settings) -> RedisDeadLetters:
    return RedisDeadLetters(settings)


def add(dead_letters: RedisDeadLetters, id: str, **fields: Any) -> None:
    dead_letters.client.xadd(dead_letters.keys.dead("order"), fields, id=id)


def test_a_dead_letter_has_what_is_stored_of_it(dead_letters: RedisDeadLetters) -> None:
    add(
        dead_letters, "1-1", handler="b.c", entry="5-1", key="k", attempts="3", error=b"\xff",
        traceback="t", first_failed="-1", last_failed=MAX_TIME_MS + 1, event="{}",
    )  # fmt: skip
    add(dead_letters, "2-1", other="x", attempts="many")
    full, empty = dead_letters.dead("order")
    assert ("1-1", "order", "b.c", "5-1", "k") == (
        full.id, full.domain, full.handler, full.entry, full.event_key
    )  # fmt: skip
    assert (3, "\ufffd", "t", 0, MAX_TIME_MS, b"{}") == (
        full.attempts, full.error, full.traceback, full.first_failed_ms, full.last_failed_ms,
        full.event,
    )  # fmt: skip
    assert ("", 0, 0, b"") == (empty.handler, empty.attempts, empty.first_failed_ms, empty.event)
    assert full == dead_letters.dead_letter("order", "1-1")
    assert [None, None] == [dead_letters.dead_letter("order", id) for id in ("3-1", "no id")]
    assert 2 == dead_letters.dead_count("order")


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({}, ["1-1", "2-1", "3-1"]),
        ({"count": 2}, ["1-1", "2-1"]),
        ({"after": "1-1"}, ["2-1", "3-1"]),
        ({"newest_first": True}, ["3-1", "2-1", "1-1"]),
        ({"newest_first": True, "count": 1}, ["3-1"]),
        ({"newest_first": True, "after": "3-1"}, ["2-1", "1-1"]),
    ],
)
def test_dead_letters_are_listed_after_one(
    dead_letters: RedisDeadLetters, given: dict[str, Any], ids: list[str]
) -> None:
    for id in ("1-1", "2-1", "3-1"):
        add(dead_letters, id, handler="b.c")
    assert ids == [letter.id for letter in dead_letters.dead("order", **given)]


def test_groups_of_dead_letters_are_read_together(
    dead_letters: RedisDeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, newest = dead_letters.keys.dead_groups("order"), dead_letters.keys.dead_newest("order")
    counts = {"b.c KeyError": 2, "b.c ": 1, "bad": "x"}
    dead_letters.client.hset(counted, mapping=counts)
    dead_letters.client.hset(newest, "b.c KeyError", "1-1")
    pipeline, transactions = dead_letters.client.pipeline, []

    def watched(transaction: bool) -> Any:
        transactions.append(transaction)
        return pipeline(transaction=transaction)

    monkeypatch.setattr(dead_letters.client, "pipeline", watched)
    assert [("b.c", "", 1, ""), ("b.c", "KeyError", 2, "1-1")] == [
        (group.handler, group.exception, group.count, group.newest)
        for group in dead_letters.dead_groups("order")
    ]
    assert [True] == transactions
    assert [(counted, "bad")] == [(record.key, record.field) for record in dead_letters.invalid]


def test_the_audit_log_is_listed_newest_first(dead_letters: RedisDeadLetters) -> None:
    for note in (b"first", b"second", b"third"):
        dead_letters.record("order", note)
    third, second, first = dead_letters.audit_log("order")
    assert [b"third", b"second", b"first"] == [third.note, second.note, first.note]
    assert {0} == {third.count, second.count, first.count}
    assert [second, first] == dead_letters.audit_log("order", before=third.id)
    assert [third] == dead_letters.audit_log("order", count=1)


def test_a_handler_without_a_group_has_nothing_to_replay(dead_letters: RedisDeadLetters) -> None:
    dead_letters.client.xadd(dead_letters.keys.events("order"), {"event": "{}"}, id="1-1")
    with pytest.raises(NotFound, match=r"billing\.charge has no subscription in .* order\."):
        dead_letters.replay(GROUP, [("1-1", "k")])
    assert (0, 0) == (dead_letters.redrive(GROUP, []), dead_letters.edit(GROUP, []))


def test_forgetting_a_handler_removes_its_counters_of_the_last_hour(
    dead_letters: RedisDeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters.client, "time", lambda: (60 * 1000 + 59, 0))
    keys = [
        dead_letters.keys.counters(GROUP.domain, GROUP.handler, minute)
        for minute in (None, 939, 940, 1000)
    ]
    for key in keys:
        dead_letters.client.hset(key, "order.placed processed", 1)
    clock = dead_letters.keys.clock("order")
    dead_letters.client.hset(clock, mapping={GROUP.handler: 1, "other": 1})
    dead_letters.forget(GROUP)
    assert 0 == dead_letters.client.exists(*keys)
    assert [b"other"] == dead_letters.client.hkeys(clock)


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_replay_from_an_archive_is_read_with_what_is_missing(is_finished: bool) -> None:
    fields = {b"operation": b"o", b"until": b"7", b"about": b"a", b"started": b"5",
              b"position": b"1-1", b"copy": b"c", b"scheduled": b"3", b"kept": b"x"}  # fmt: skip
    if is_finished:
        fields[b"finished"] = b""
    assert ArchiveReplay(
        operation="o", until_ms=7, about="a", started_ms=5, position="1-1", copy="c", scheduled=3,
        kept=0, is_finished=is_finished,
    ) == parse_archive_replay(fields)  # fmt: skip
