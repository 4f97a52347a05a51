"""Redrive and discard dead letters by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import msgspec

from celeriac.dead_letter.choice import PAGE
from celeriac.delivery import DeadLetter, Group
from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import decode, encode
from celeriac.event.signature import redriven_for, split
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend


def redrive_dead_letter(
    backend: Backend,
    records: Mapping[str, HandlerRecord],
    domain: str,
    id: str,
    note: bytes = b"",
) -> bool:
    """Redrive a dead letter; return False if it no longer exists.

    Raises NotFound if its handler does not exist.
    """
    dead_letter = backend.deliveries.dead_letter(domain, id)
    if dead_letter is None:
        return False
    group = group_of(records, dead_letter)
    event = addressed(dead_letter.event, dead_letter.handler)
    return bool(backend.deliveries.redrive(group, [(dead_letter, event)], note))


def group_of(records: Mapping[str, HandlerRecord], dead_letter: DeadLetter) -> Group:
    """Return the consumer group of a dead letter. Raises NotFound if its handler was removed."""
    record = records.get(dead_letter.handler)
    if record is None:
        raise NotFound(f"no handler {dead_letter.handler} (any more)")
    return Group(dead_letter.domain, dead_letter.handler, record.flow_control)


def discard_dead_letters(
    backend: Backend, chosen: Sequence[tuple[str, str]], note: bytes = b""
) -> int:
    """Discard dead letters by (domain, id); return how many existed."""
    done = 0
    for domain, group in groupby(sorted(chosen), key=lambda pair: pair[0]):
        ids = [id for _, id in group]
        for i in range(0, len(ids), PAGE):
            done += backend.deliveries.discard(domain, ids[i : i + PAGE], note)
    return done


def addressed(event: bytes, handler: str) -> bytes:
    """Return the event, addressed to the handler only; unchanged if it is not a valid event."""
    try:
        if split(event) is not None:
            # Encoding it again would invalidate the signature.
            return redriven_for(event, handler)
        return encode(msgspec.structs.replace(decode(event), handlers=(handler,)))
    except InvalidEvent:
        return event
