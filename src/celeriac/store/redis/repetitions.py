"""Find entries that repeat an event, on Redis or Valkey. Implements ChunkStore.repetitions."""

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
    """Return the repetitions. See ChunkStore.repetitions.

    With `note_window_ms`, ids of foreign producers are registered for that time.
    """
    stored, known = _known(client, keys, domain, entries)
    wanted = unresolved(known) | foreign_copies(entries, known)
    first_entries: dict[str, str] = {}
    if wanted:
        first_entries, is_complete = find_first(partial(_page, client, keys.events(domain)), wanted)
        if is_complete:
            _note_resolved(client, keys, domain, stored, known, first_entries)
    if note_window_ms and (new := new_foreign(entries, known, first_entries)):
        arguments = [text for pair in new.items() for text in pair]
        named = NOTE_FOREIGN.keys(keys, domain)
        NOTE_FOREIGN.on_keys(client, named, note_window_ms, *arguments)
    return find_repetitions(entries, known, first_entries)


def _known(
    client: Client, keys: Keys, domain: str, entries: Sequence[tuple[Entry, str]]
) -> tuple[dict[str, bytes], dict[str, Registered]]:
    """Return event key → what is registered, as stored and as parsed."""
    event_keys = list(dict.fromkeys(event_key for _, event_key in entries))
    stored = _read(client, keys.ids(domain), event_keys)
    parsed = {event_key: parse_registered(value) for event_key, value in stored.items()}
    return stored, {key: registered for key, registered in parsed.items() if registered is not None}


def _note_resolved(
    client: Client,
    keys: Keys,
    domain: str,
    stored: Mapping[str, bytes],
    known: Mapping[str, Registered],
    first_entries: Mapping[str, str],
) -> None:
    arguments: list[str | bytes] = []
    for event_key, registered in unresolved(known).items():
        first = first_entries.get(event_key, registered.entry)
        arguments += (event_key, stored[event_key], first)
    if arguments:
        RESOLVE_IDS.on_keys(client, RESOLVE_IDS.keys(keys, domain), *arguments)


def _read(
    client: Client, generations: Sequence[str], event_keys: Sequence[str]
) -> dict[str, bytes]:
    """Return event key → the registered value, for registered keys; in one round trip."""
    portions = [
        event_keys[start : start + MAX_FIELDS] for start in range(0, len(event_keys), MAX_FIELDS)
    ]
    # The current generation is last: its values win.
    commands = [("HMGET", key, *portion) for key in reversed(generations) for portion in portions]
    registered: dict[str, bytes] = {}
    for (_, _, *fields), values in zip(commands, client.execute_many(commands), strict=True):
        if isinstance(values, Exception):
            raise values
        pairs = zip(fields, values, strict=True)
        registered |= {field: value for field, value in pairs if value is not None}
    return registered


def _page(client: Client, key: str, start: str, end: str, count: int) -> list[Entry]:
    [answer] = client.execute_many([("XRANGE", key, start, end, "COUNT", count)])
    if isinstance(answer, Exception):
        raise answer
    return [read_entry(entry, fields) for entry, fields in answer]
