"""Entries that repeat an event, on Redis or Valkey: see ChunkStore.repetitions for the promises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from celeriac.connection import Client
from celeriac.keys import Keys
from celeriac.ledger.repetition import find_first, foreign_copies, repetitions
from celeriac.log import Entry, read_fields
from celeriac.log.registered import parse_registered
from celeriac.scripts import Script

_resolve = Script("celeriac.ledger", "resolve_ids.lua")
MAX_FIELDS = 1000  # of one command


def find_repetitions(
    client: Client, keys: Keys, domain: str, entries: Sequence[tuple[Entry, str]]
) -> set[str]:
    """See ChunkStore.repetitions."""
    event_keys = list(dict.fromkeys(event_key for _, event_key in entries))
    stored = _read(client, keys.ids(domain), event_keys)
    known = {
        event_key: registered
        for event_key, value in stored.items()
        if (registered := parse_registered(value))
    }
    first = {event_key: registered.entry for event_key, registered in known.items()}
    wanted = {event_key: one for event_key, one in known.items() if not one.is_resolved}
    unresolved = list(wanted)
    wanted |= foreign_copies(entries, known)
    if wanted:
        found, is_whole = find_first(partial(_page, client, keys.events(domain)), wanted)
        first |= found
        if is_whole and unresolved:
            values = [(key, stored[key], first[key]) for key in unresolved]
            arguments = [text for three in values for text in three]
            _resolve.on_keys(client, keys.ids(domain), *arguments)
    return repetitions(entries, first)


def _read(
    client: Client, generations: Sequence[str], event_keys: Sequence[str]
) -> dict[str, bytes]:
    """Event key → the registered value, for those that are registered; in one round trip."""
    portions = [
        event_keys[start : start + MAX_FIELDS] for start in range(0, len(event_keys), MAX_FIELDS)
    ]
    # The current generation last: it holds.
    commands = [("HMGET", key, *portion) for key in reversed(generations) for portion in portions]
    found: dict[str, bytes] = {}
    for (_, _, *fields), values in zip(commands, client.execute_many(commands), strict=True):
        if isinstance(values, Exception):
            raise values
        pairs = zip(fields, values, strict=True)
        found |= {field: value for field, value in pairs if value is not None}
    return found


def _page(client: Client, key: str, start: str, end: str, count: int) -> list[Entry]:
    [found] = client.execute_many([("XRANGE", key, start, end, "COUNT", count)])
    if isinstance(found, Exception):
        raise found
    return [Entry(entry.decode(), *read_fields(fields)) for entry, fields in found]
