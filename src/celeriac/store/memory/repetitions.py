"""Entries that repeat an event, in memory: see ChunkStore.repetitions for the promises."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.delivery.repetition import (
    Repetitions,
    find_first,
    find_repetitions,
    new_foreign,
    unresolved,
)
from celeriac.event import key_id, made_ms
from celeriac.event_log import Entry, EntryKind
from celeriac.event_log.registered import Registered, parse_registered
from celeriac.store.memory.event_log import MemoryEventLog


def check_entries(
    event_log: MemoryEventLog,
    domain: str,
    entries: Sequence[tuple[Entry, str]],
    *,
    note_foreign: bool = False,
) -> Repetitions:
    """Called under the lock. `note_foreign`: notes ids of foreign producers."""
    ids, now = event_log.store[domain].ids, event_log.clock.now_ms()
    known = {key: one for _, key in entries if (one := ids.get(key)) is not None}
    wanted = unresolved(known)
    for entry, event_key in entries:
        is_copy = entry.kind is EntryKind.FOREIGN and event_key not in known
        if is_copy and made_ms(key_id(event_key)):
            # Among all entries: the clock is not that of the ids.
            wanted[event_key] = Registered(entry.id, is_resolved=False)

    def read(start: str, end: str, count: int) -> list[Entry]:
        return event_log.read(domain, start=start, end=end, count=count)

    found, _ = find_first(read, wanted)
    for event_key, one in unresolved(known).items():
        ids.resolve(event_key, found.get(event_key, one.entry))
    if note_foreign:
        ids.turn(now, int(event_log.bus.current.dedup_window * 1000))
        for event_key, value in new_foreign(entries, known, found).items():
            if (registered := parse_registered(value.encode())) is not None:
                ids.put(event_key, registered, now)
    return find_repetitions(entries, known, found)
