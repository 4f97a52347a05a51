"""Ids of foreign entries in memory: they are known for as long as others."""

from __future__ import annotations

from celeriac.event import build_event, encode, event_key, new_event_id
from celeriac.event_log import Entry, EntryKind
from celeriac.settings import Settings
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.repetitions import check_entries

DOMAIN = "order"


def appended(log: MemoryEventLog) -> tuple[Entry, str]:
    """Append an event of a foreign producer; return its entry and event key."""
    id = new_event_id()
    body = encode(build_event("order.placed", None, source="s", id=id))
    entry = log.append(DOMAIN, body, EntryKind.FOREIGN)
    return Entry(entry, body, EntryKind.FOREIGN), event_key(id, "s")


def test_an_id_of_a_foreign_entry_is_forgotten_after_two_windows() -> None:
    clock = MemoryClock()
    log = MemoryEventLog(Settings.load({}), clock)
    window_ms = int(log.bus.current.dedup_window * 1000)
    first = appended(log)
    check_entries(log, DOMAIN, [first])
    assert log.registered(DOMAIN, [first[1]]) == [None], "not noted yet"
    known: list[bool] = []
    for after_ms in (0, window_ms - 1, 1, window_ms):
        clock.advance(after_ms)
        check_entries(log, DOMAIN, [first if not known else appended(log)], note_foreign=True)
        known.append(log.registered(DOMAIN, [first[1]])[0] is not None)
    assert known == [True, True, True, False]
    assert len(log.store[DOMAIN].ids.current) == 1
