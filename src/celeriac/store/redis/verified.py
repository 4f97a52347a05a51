"""Record verified events on Redis or Valkey. Implements DeliveryStore.note_verified."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.delivery.delivery import Group
from celeriac.invalid_record import is_wrong_type
from celeriac.store.redis.connection import Client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script

_note_verified = Script("note_verified.lua")
MAX_NOTED = 500  # events of one call: it takes half a millisecond of the server


def note_verified(
    client: Client, keys: Keys, group: Group, window_ms: int, verified: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """See DeliveryStore.note_verified."""
    named = _note_verified.keys(keys, group.domain, group.handler)
    calls = []
    for start in range(0, len(verified), MAX_NOTED):
        pairs = verified[start : start + MAX_NOTED]
        arguments = [text for entry, event_key in pairs for text in (event_key, entry)]
        calls.append((named, (window_ms, *arguments)))
    copies: dict[str, str] = {}
    for answer in _note_verified.on_keys_many(client, calls) if calls else ():
        if isinstance(answer, Exception):
            raise answer
        entries = [entry.decode() for entry in answer]
        copies |= zip(entries[::2], entries[1::2], strict=True)
    return copies


def forget_verified(client: Client, keys: Keys, group: Group, event_keys: Sequence[str]) -> None:
    """Remove the records of these events, so that their next entries are not duplicates.

    Blocks for a round trip.
    """
    named = keys.verified(group.domain, group.handler)
    for answer in client.execute_many([("HDEL", key, *event_keys) for key in named]):
        if isinstance(answer, Exception) and not is_wrong_type(answer):
            raise answer
