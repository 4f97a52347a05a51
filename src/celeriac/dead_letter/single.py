"""Dead letters by their names: redriven and discarded."""

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


def redrive_letter(
    backend: Backend,
    records: Mapping[str, HandlerRecord],
    domain: str,
    id: str,
    note: bytes = b"",
) -> bool:
    """Delivers it again; False if it is gone. Raises NotFound where its handler is."""
    letter = backend.deliveries.dead_letter(domain, id)
    if letter is None:
        return False
    group = lane_of(records, letter)
    return bool(backend.deliveries.redrive(group, [(letter, addressed(letter))], note))


def lane_of(records: Mapping[str, HandlerRecord], letter: DeadLetter) -> Group:
    """Raises NotFound where its handler was removed."""
    record = records.get(letter.handler)
    if record is None:
        raise NotFound(f"no handler {letter.handler} (any more)")
    return Group(letter.domain, letter.handler, record.flow_control)


def discard_letters(backend: Backend, chosen: Sequence[tuple[str, str]], note: bytes = b"") -> int:
    """Removes (domain, id) pairs; returns how many there were."""
    done = 0
    for domain, group in groupby(sorted(chosen), key=lambda pair: pair[0]):
        ids = [id for _, id in group]
        for i in range(0, len(ids), PAGE):
            done += backend.deliveries.discard(domain, ids[i : i + PAGE], note)
    return done


def addressed(letter: DeadLetter) -> bytes:
    """Its event, for its handler alone."""
    try:
        if split(letter.event) is not None:
            # Encoded anew it would be signed no more.
            return redriven_for(letter.event, letter.handler)
        return encode(msgspec.structs.replace(decode(letter.event), handlers=(letter.handler,)))
    except InvalidEvent:
        return letter.event
