"""Open chunks: intervals of a domain's event log that one worker has for one consumer group.

A delivery that runs once and succeeds needs no record of its own: the group's position and the run
record of its chunk imply it. An entry is in exactly one state: in the interval of one open chunk,
pending separately, or completed. See docs/internals/chunks.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Protocol

import msgspec

from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.delivery import Completion, Group
from celeriac.delivery.fetch_size import FEW
from celeriac.delivery.pending_reply import PendingReply
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import Run
from celeriac.event_log import Entry
from celeriac.event_log.open_chunk import OpenChunk


def new_chunk_id() -> str:
    """Return a unique id for a chunk: 64 random bits, as hexadecimal digits."""
    return token_hex(8)


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """At most `count` entries for a consumer group, as a new chunk with the id `chunk`.

    The id must be unique, because it fences off an owner whose lease expired. `running`: the
    process that fetches runs the chunk itself; else the chunk is queued for a process that begins
    it.
    """

    group: Group
    chunk: str
    count: int
    running: bool = False


class Fetched(msgspec.Struct, frozen=True):
    """The result of a fetch.

    `entries` are those of the chunk, in log order, none if nothing was waiting. `position` is the
    group's position. `removed`: the handler has no consumer group. `open_chunks` counts the chunks
    of the worker, this one included. `patterns` are those in force for the handler (see
    `DeliveryStore.note_patterns`). `mean_us` is its run time, 0 if unknown. `is_ambiguous`: entries
    may repeat an event; call `repetitions` before any of them runs, even if another process begins
    the chunk. `is_unknown`: the group's cluster node is unreachable, and the chunk may have been
    opened. `waiting` is the number of entries behind these, None if unknown.
    """

    entries: tuple[Entry, ...] = ()
    position: str = ""
    now_ms: int = 0
    removed: bool = False
    open_chunks: int = 0
    patterns: tuple[str, ...] = ()
    mean_us: int = 0
    is_ambiguous: bool = False
    is_unknown: bool = False
    waiting: int | None = None

    def share(self, requested: int) -> int:
        """Return how many of the following entries the process of this chunk may fetch at once, so
        that other processes get as many; 0 if there are none. `requested` entries were requested.
        """
        if self.waiting is None:
            return FEW if len(self.entries) >= requested else 0
        return math.ceil(self.waiting / max(1, self.open_chunks)) if self.entries else 0


@dataclass(frozen=True, slots=True)
class ChunkProgress:
    """The entries of a chunk up to `until`, inclusive, were processed or ignored. `until` is not
    its last entry. `record` is that of ChunkCompletion."""

    until: str
    done: int
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class ChunkCompletion:
    """The results of the entries of a chunk up to `until`, inclusive.

    `record` packs the run of each (see run_record.py). `exceptions` are entries that need a record
    of their own: failed, retried, skipped, with emitted events, or undecided. `counts` are added to
    the fields of the statistics, `counters` to the counters by event type; both include what
    `begin_progress` reported before.
    """

    until: str
    done: int
    record: bytes = b""
    exceptions: Sequence[Completion] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    mean_us: int = 0


class ChunkStore(Protocol):
    """The open chunks of consumer groups.

    Every method is one atomic transition, blocks for one round trip, and raises redis.RedisError if
    Redis is unreachable. A removed handler has no chunks.
    """

    def fetch(self, worker: str, requests: Sequence[ChunkRequest]) -> list[Fetched]:
        """Fetch the next waiting entries of each group for the worker, as one chunk each.

        In one step, the group's position moves past them and the chunk's lease begins: no entry is
        delivered twice or left out. If the reply is lost, lease expiry makes them pending.
        """
        ...

    def advance(self, worker: str, moves: Sequence[Advance]) -> list[Advanced]:
        """Advance groups past entries that were read once for all of them, and queue what each
        handler wants as a chunk.

        A group advances only if its position is as expected, no other version of its handler is in
        force, and `upto` is still in the log.
        """
        ...

    def begin(
        self, worker: str, group: Group, chunk: str, *, read: bool = True
    ) -> list[Entry] | None:
        """Make a queued chunk a running one; return its entries that are left in the log.

        Any worker may have queued it. Without `read` the entries are not read, which saves a round
        trip, and the list is empty. None if the chunk was already begun, requeued or reclaimed.
        """
        ...

    def begin_progress(
        self, worker: str, group: Group, chunk: str, progress: ChunkProgress
    ) -> PendingReply[bool]:
        """Report the first entries of a running chunk, without waiting for the reply.

        Records the runs and renews the lease of the chunk. Counts nothing: `complete` does. The
        result is False if the worker no longer owns the chunk, or some of these entries: then
        nothing is recorded. Idempotent.
        """
        ...

    def complete(self, worker: str, group: Group, chunk: str, completion: ChunkCompletion) -> bool:
        """Record the results of the first entries of a worker's chunk, and renew its lease.

        With its last entry, the chunk is removed. Exceptions become deliveries, as in
        `DeliveryStore.complete`. Returns False if the worker no longer owns the chunk, or some of
        these entries: then nothing is recorded. Repeating the call for the same `until` of an open
        chunk changes nothing.
        """
        ...

    def complete_and_fetch(
        self,
        worker: str,
        group: Group,
        chunk: str,
        completion: ChunkCompletion,
        request: ChunkRequest,
    ) -> tuple[bool, Fetched]:
        """Call `complete`, then `fetch`, in one round trip: two atomic transitions, the second
        regardless of the first. If the reply is lost, `requeue` the id in the request.
        """
        ...

    def renew(self, worker: str, group: Group, chunks: Sequence[str]) -> list[str]:
        """Renew the leases; return the chunks that the worker no longer owns."""
        ...

    def requeue(
        self,
        worker: str,
        group: Group,
        chunk: str,
        *,
        only_queued: bool = False,
        after: str | None = None,
    ) -> int:
        """Make the rest of the worker's chunk pending and due at once, without counting an attempt;
        return the number of entries.

        With `only_queued`, a chunk that a process has begun is not changed. With `after`, only the
        entries after that one are requeued, and the chunk ends with it.
        """
        ...

    def reclaim(self, groups: Sequence[Group]) -> int:
        """Requeue every chunk whose lease expired, of any owner, in one round trip.

        Each entry of a chunk that a process had begun then loses a run (see Delivery).
        """
        ...

    def count_open(self, worker: str, groups: Sequence[Group]) -> list[int]:
        """Return the worker's number of open chunks for each group, in one round trip."""
        ...

    def repetitions(self, domain: str, entries: Sequence[tuple[Entry, str]]) -> Repetitions:
        """Return which entries of an ambiguous fetch, given with their event keys, repeat an event.

        For entries that run in a chunk; `DeliveryStore.claim` detects repetitions itself. Blocks
        for a round trip, and for each retried event until the log since its first try has been
        read.
        """
        ...

    def now_ms(self) -> int:
        """Return the server's time. Blocks for a round trip at the first call only."""
        ...

    def open_chunks(self, group: Group) -> list[OpenChunk]:
        """Return the open chunks of a consumer group, in log order."""
        ...

    def remaining(self, group: Group, chunk: OpenChunk) -> list[Entry]:
        """Return the entries that are left in an open chunk and in the log."""
        ...

    def runs(self, group: Group, entries: Sequence[str]) -> list[Run | None]:
        """Return the run of each entry within a chunk; None without a run or if it was removed.

        Blocks for a round trip for each 16 distant entries. An invalid record is reported: it is
        only certain that its entries were processed (see Run).
        """
        ...
