"""An open chunk, as it is stored: an interval of the event log that one worker holds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from celeriac.log.log import entry_key


class OpenChunk(msgspec.Struct, frozen=True):
    """The entries after `after`, up to and with `upto`, `count` of them when they were fetched.

    `owner` is `queued:<worker>` or `running:<worker>`; its lease began at `renewed_ms` by the
    server's clock.
    """

    id: str
    after: str
    upto: str
    count: int
    owner: str
    renewed_ms: int


def parse_chunks(stored: Mapping[bytes, bytes]) -> list[OpenChunk]:
    """From the hash of open chunks, in the order of the log; without what is none."""
    found = []
    for id, value in stored.items():
        match value.decode(errors="replace").split(" "):
            case [after, upto, count, owner, renewed] if count.isdigit() and renewed.isdigit():
                found.append(OpenChunk(id.decode(), after, upto, int(count), owner, int(renewed)))
    return sorted(found, key=lambda chunk: entry_key(chunk.after))
