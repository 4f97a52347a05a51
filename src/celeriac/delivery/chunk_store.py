"""Open chunks: intervals of a domain's event log that one worker holds for one consumer group.

The plain case (delivered once, ran, succeeded) needs no record of its own: it follows from the
group's position and from the run record of its chunk. An entry is in one place at a time: in the
interval of one open chunk, pending by itself, or done. See docs/internals/chunks.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Protocol

import msgspec

from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import Run
from celeriac.delivery.store import Completion, Group
from celeriac.event_log import Entry
from celeriac.event_log.open_chunk import OpenChunk


def new_chunk_id() -> str:
    """Return an id that no chunk has or had: 64 random bits, as hexadecimal digits."""
    return token_hex(8)


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """At most `count` entries for a consumer group, as a new chunk with the id `chunk`.

    The id must be one that no other chunk ever had: it is what fences off an owner whose lease
    expired. `running`: the process that fetches runs the chunk itself; else it is queued for a
    process that begins it.
    """

    group: Group
    chunk: str
    count: int
    running: bool = False


class Fetched(msgspec.Struct, frozen=True):
    """`entries` are those of the chunk, in the order of the log; none where nothing was waiting.
    `position` is the last entry that the group was given. `removed`: the handler has no consumer
    group any more. `open_chunks` counts those of the worker, this one included; `patterns` are
    those in force for the handler (see `DeliveryStore.note_patterns`); `mean_us` is its run time, 0
    if unknown. `is_ambiguous`: an entry of any kind may repeat an event; ask `repetitions` before
    any of them runs, also when the chunk is begun elsewhere. `is_unknown`: the group's node of a
    cluster is away, and the chunk may have been opened."""

    entries: tuple[Entry, ...] = ()
    position: str = ""
    now_ms: int = 0
    removed: bool = False
    open_chunks: int = 0
    patterns: tuple[str, ...] = ()
    mean_us: int = 0
    is_ambiguous: bool = False
    is_unknown: bool = False


@dataclass(frozen=True, slots=True)
class ChunkCompletion:
    """What became of the entries of a chunk up to and with `until`.

    `record` packs the run of each (see run_record.py). `exceptions` are the entries that need a
    record of their own: failed, to be retried, skipped, with effects, or not to be decided here.
    `counts` are the fields that are added to the statistics, `counters` those that are added to the
    counts by event type.
    """

    until: str
    done: int
    record: bytes = b""
    exceptions: Sequence[Completion] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    mean_us: int = 0


class ChunkStore(Protocol):
    """Every method is one atomic move, blocks for one round trip, and raises redis.RedisError
    where Redis cannot be reached. Of a handler that was removed nothing is held."""

    def fetch(self, worker: str, requests: Sequence[ChunkRequest]) -> list[Fetched]:
        """Give the next waiting entries of each group to the worker, as one chunk each.

        The group's position moves past them, and the chunk's lease begins, in one step: no entry
        is given twice, or passed over. After a lost answer the lease's end makes them pending.
        """
        ...

    def advance(self, worker: str, moves: Sequence[Advance]) -> list[Advanced]:
        """Move groups past entries that were read once for all of them, and queue as a chunk what
        each handler wants.

        Each moves only if it stands where the move says, no other version of its handler is in
        force, and `upto` is still in the log.
        """
        ...

    def begin(
        self, worker: str, group: Group, chunk: str, *, read: bool = True
    ) -> list[Entry] | None:
        """Make a queued chunk a running one; return its entries that are left in the log.

        Whichever worker queued it. Without `read` they are not read, which spares a round trip, and
        none is returned. None where it was begun already, given back, or reclaimed.
        """
        ...

    def complete(self, worker: str, group: Group, chunk: str, completion: ChunkCompletion) -> bool:
        """Record what became of the first entries of a chunk of the worker, and renew its lease.

        With the last entry the chunk is gone. The exceptions go where `DeliveryStore.complete` puts
        them. False where the worker does not hold the chunk any more: nothing is recorded then.
        Repeated for the same `until` of a chunk that is still open, it changes nothing."""
        ...

    def complete_and_fetch(
        self,
        worker: str,
        group: Group,
        chunk: str,
        completion: ChunkCompletion,
        request: ChunkRequest,
    ) -> tuple[bool, Fetched]:
        """`complete`, then `fetch`: two atomic moves in one round trip, the second whatever came of
        the first. After a lost answer, `requeue` of the id in the request gives back what it got.
        """
        ...

    def renew(self, worker: str, group: Group, chunks: Sequence[str]) -> list[str]:
        """Begin the leases again; return the chunks that the worker does not hold any more."""
        ...

    def requeue(self, worker: str, group: Group, chunk: str, *, only_queued: bool = False) -> int:
        """Make what is left of the worker's chunk pending and due at once, with no attempt
        counted; return how many entries.

        With `only_queued`, a chunk that a process has begun stays as it is."""
        ...

    def reclaim(self, groups: Sequence[Group]) -> int:
        """`requeue` for every chunk whose lease expired, whoever holds it; in one round trip.

        Each entry of a chunk that a process had begun has then lost a run (see Delivery).
        """
        ...

    def count_open(self, worker: str, groups: Sequence[Group]) -> list[int]:
        """How many chunks of each consumer group the worker holds; in one round trip for all."""
        ...

    def repetitions(self, domain: str, entries: Sequence[tuple[Entry, str]]) -> Repetitions:
        """Which entries of an ambiguous fetch, given with their event keys, repeat an event.

        For entries that run in a chunk; `DeliveryStore.claim` finds repetitions itself. Blocks for
        a round trip, and once for each event that was tried again for as long as it takes to read
        the log since its first try."""
        ...

    def now_ms(self) -> int:
        """The server's time. Blocks for a round trip at the first call only."""
        ...

    def open_chunks(self, group: Group) -> list[OpenChunk]:
        """The open chunks of a consumer group, in the order of the log."""
        ...

    def runs(self, group: Group, entries: Sequence[str]) -> list[Run | None]:
        """How each entry ran within a chunk; None where it did not, or its record was removed.

        Blocks for a round trip for each 16 distant entries. A record that cannot be read is
        reported: of its entries only that they were processed is known (see Run).
        """
        ...
