"""What a search for repeated events notes in Redis, and what it reads there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from celeriac.event import build_event, encode, new_event_id, read_header
from celeriac.event_log import EntryKind, time_ms
from celeriac.settings import Settings
from celeriac.store.redis import repetitions
from celeriac.store.redis.event_log import RedisEventLog
from celeriac.store.redis.repetitions import read_repetitions

AT = datetime(2030, 1, 1, tzinfo=UTC)
MADE, GIVEN, FOREIGN = EntryKind.MADE, EntryKind.GIVEN, EntryKind.FOREIGN


@pytest.fixture
def event_log(settings: Settings) -> RedisEventLog:
    return RedisEventLog(settings)


def event(id: str) -> bytes:
    return encode(build_event("order.placed", None, id=id, source="shop", time=AT))


def key(id: str) -> str:
    return read_header(event(id)).key


def repeated(event_log: RedisEventLog, window_ms: int = 0) -> set[str]:
    entries = [(entry, read_header(entry.body or b"").key) for entry in event_log.read("order")]
    found = read_repetitions(event_log.client, event_log.keys, "order", entries, window_ms)
    return {*found.certain, *found.possible}


def registered(event_log: RedisEventLog, id: str) -> bytes | None:
    current, _ = event_log.keys.ids("order")
    value: bytes | None = event_log.client.hget(current, key(id))
    return value


def retried(event_log: RedisEventLog) -> tuple[str, str, str]:
    """Append an event twice, the second time as a retry: id and both entries."""
    id, began = new_event_id(), time_ms()
    first = event_log.append("order", event(id), MADE)
    return id, first, event_log.append("order", event(id), MADE, began)


def test_the_first_entry_that_a_complete_search_found_is_noted(event_log: RedisEventLog) -> None:
    id, first, again = retried(event_log)
    assert b"?" in (registered(event_log, id) or b"")
    assert {again} == repeated(event_log)
    assert first.encode() == registered(event_log, id)


def test_a_complete_search_without_result_is_noted(event_log: RedisEventLog) -> None:
    id = new_event_id()
    entry = event_log.append("order", event(id), MADE, time_ms())
    assert set() == repeated(event_log)
    assert entry.encode() == registered(event_log, id)


def test_an_incomplete_search_is_not_noted(
    event_log: RedisEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, _, _ = retried(event_log)
    before = registered(event_log, id)
    monkeypatch.setattr("celeriac.delivery.repetition.MAX_SEARCHED", 0)
    repeated(event_log)
    assert before == registered(event_log, id)
    assert b"?" in (before or b"")


@pytest.mark.parametrize("window_ms", [0, 60_000])
def test_foreign_ids_are_noted_if_there_is_a_window(
    event_log: RedisEventLog, window_ms: int
) -> None:
    entry = event_log.append("order", event("a"), FOREIGN)
    assert set() == repeated(event_log, window_ms)
    assert (f"{entry}!".encode() if window_ms else None) == registered(event_log, "a")


def test_a_copy_of_an_event_of_emit_is_noted_with_the_first_entry(
    event_log: RedisEventLog,
) -> None:
    id = new_event_id()
    first = event_log.append("order", event(id), MADE)
    copy = event_log.append("order", event(id), FOREIGN)
    assert {copy} == repeated(event_log, 60_000)
    assert first.encode() == registered(event_log, id)


def test_many_registered_ids_are_read_in_portions(
    event_log: RedisEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetitions, "MAX_FIELDS", 2)
    for id in "abcde":
        event_log.append("order", event(id), GIVEN)
    copies = {event_log.append("order", event(id), FOREIGN) for id in "abcdef"}
    assert 5 == len(repeated(event_log) & copies)


def test_the_current_generation_of_ids_holds(event_log: RedisEventLog) -> None:
    event_log.append("order", event("a"), GIVEN)
    copy = event_log.append("order", event("a"), FOREIGN)
    current, older = event_log.keys.ids("order")
    event_log.client.hset(current, key("a"), copy)
    event_log.client.hset(older, key("a"), "1-1")
    assert copy not in repeated(event_log)
