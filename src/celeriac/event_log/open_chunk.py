"""An open chunk: an interval of the event log that one worker has leased."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec

from celeriac.event_log.event_log import entry_key, is_entry

_OWNERS = ("queued:", "running:")


class OpenChunk(msgspec.Struct, frozen=True):
    """The entries after `after` up to and including `upto`; `count` is their number when fetched.

    A sparse chunk has only the entries in `entries`.

    `owner` is `queued:<worker>` or `running:<worker>`; its lease began at `renewed_ms` by the
    server's clock.
    """

    id: str
    after: str
    upto: str
    count: int
    owner: str
    renewed_ms: int
    entries: tuple[str, ...] = ()

    def has(self, entry: str) -> bool:
        """Return whether the entry is in the chunk."""
        is_within = entry_key(self.after) < entry_key(entry) <= entry_key(self.upto)
        return is_within and (not self.entries or entry in self.entries)

    @property
    def worker(self) -> str:
        return self.owner.partition(":")[2]

    @property
    def is_running(self) -> bool:
        """Whether a process runs it. Which of its entries runs is not recorded."""
        return self.owner.startswith("running:")


def parse_chunk(id: str, stored: bytes) -> OpenChunk:
    """Return the chunk of `after upto count owner renewed entry…`. Raises ValueError."""
    after, upto, count, owner, renewed, *entries = stored.decode().split(" ")
    if not (all(map(is_entry, (after, upto, *entries))) and owner.startswith(_OWNERS)):
        raise ValueError("is not an open chunk")
    return OpenChunk(id, after, upto, int(count), owner, int(renewed), tuple(entries))


def chunks_by_id(stored: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """Return the fields of the hash without the id ''.

    A script leaves that field for the next script of its transaction. It remains if the server did
    not have that script.
    """
    return {id: value for id, value in stored.items() if id}


def in_log_order(chunks: Iterable[OpenChunk]) -> list[OpenChunk]:
    """Return the chunks in the order of the event log."""
    return sorted(chunks, key=lambda chunk: entry_key(chunk.after))


def parse_chunks(stored: Mapping[bytes, bytes]) -> list[OpenChunk]:
    """Return the valid chunks of the hash, in the order of the event log."""
    chunks = []
    for id, value in stored.items():
        with suppress(ValueError):
            chunks.append(parse_chunk(id.decode(), value))
    return in_log_order(chunks)
