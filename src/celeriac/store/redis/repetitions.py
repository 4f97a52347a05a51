"""Entries that repeat an event, on Redis or Valkey: see ChunkStore.repetitions for the promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from celeriac.delivery.repetition import (
    Repetitions,
    find_first,
    find_repetitions,
    foreign_copies,
    new_foreign,
    unresolved,
)
from celeriac.event_log import Entry, read_entry
from celeriac.event_log.registered import Registered, parse_registered
from celeriac.store.redis.append_once import NOTE_FOREIGN
from celeriac.store.redis.connection import Client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script

RESOLVE_IDS = Script("resolve_ids.lua")
MAX_FIELDS = 1000  # of one command


def read_repetitions(
    client: Client,
    keys: Keys,
    domain: str,
    entries: Sequence[tuple[Entry, str]],
    note_window_ms: int = 0,
) -> Repetitions:
    """See ChunkStore.repetitions. With `note_window_ms` ids of foreign producers are noted for so
    long."""
    stored, known = _known(client, keys, domain, entries)
    wanted = unresolved(known) | foreign_copies(entries, known)
    found: dict[str, str] = {}
    if wanted:
        found, is_whole = find_first(partial(_page, client, keys.events(domain)), wanted)
        if is_whole:
            _note_resolved(client, keys, domain, stored, known, found)
    if note_window_ms and (new := new_foreign(entries, known, found)):
        arguments = [text for pair in new.items() for text in pair]
        named = NOTE_FOREIGN.keys(keys, domain)
        NOTE_FOREIGN.on_keys(client, named, note_window_ms, *arguments)
    return find_repetitions(entries, known, found)


def _known(
    client: Client, keys: Keys, domain: str, entries: Sequence[tuple[Entry, str]]
) -> tuple[dict[str, bytes], dict[str, Registered]]:
    """Event key → what is registered, as it is stored and as it is understood."""
    event_keys = list(dict.fromkeys(event_key for _, event_key in entries))
    stored = _read(client, keys.ids(domain), event_keys)
    parsed = {event_key: parse_registered(value) for event_key, value in stored.items()}
    return stored, {event_key: one for event_key, one in parsed.items() if one is not None}


def _note_resolved(
    client: Client,
    keys: Keys,
    domain: str,
    stored: Mapping[str, bytes],
    known: Mapping[str, Registered],
    found: Mapping[str, str],
) -> None:
    arguments: list[str | bytes] = []
    for event_key, one in unresolved(known).items():
        arguments += (event_key, stored[event_key], found.get(event_key, one.entry))
    if arguments:
        RESOLVE_IDS.on_keys(client, RESOLVE_IDS.keys(keys, domain), *arguments)


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
    return [read_entry(entry, fields) for entry, fields in found]
