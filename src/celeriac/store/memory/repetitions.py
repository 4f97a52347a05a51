"""Find entries that repeat an event, in memory. Implements ChunkStore.repetitions."""

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
    """Return the repetitions. Call this under the lock. `note_foreign` records foreign ids."""
    ids, now = event_log.store[domain].ids, event_log.clock.now_ms()
    known = {key: known_id for _, key in entries if (known_id := ids.get(key)) is not None}
    wanted = unresolved(known)
    for entry, event_key in entries:
        is_copy = entry.kind is EntryKind.FOREIGN and event_key not in known
        if is_copy and made_ms(key_id(event_key)):
            # Search all entries: the store's clock differs from the clock in the ids.
            wanted[event_key] = Registered(entry.id, is_resolved=False)

    def read(start: str, end: str, count: int) -> list[Entry]:
        return event_log.read(domain, start=start, end=end, count=count)

    first_entries, _ = find_first(read, wanted)
    for event_key, registered in unresolved(known).items():
        ids.resolve(event_key, first_entries.get(event_key, registered.entry))
    if note_foreign:
        ids.rotate(now, int(event_log.bus.current.dedup_window * 1000))
        for event_key, value in new_foreign(entries, known, first_entries).items():
            if (new := parse_registered(value.encode())) is not None:
                ids.put(event_key, new, now)
    return find_repetitions(entries, known, first_entries)
