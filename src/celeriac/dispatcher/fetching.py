"""Fetch chunks for groups whose deliveries need no record before they are processed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import redis
from msgspec.structs import replace

from celeriac.delivery import Completion, Delivery, Group, Outcome
from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest, Fetched, new_chunk_id
from celeriac.delivery.fetch_size import FEW
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.dispatcher.chunk import Chunk
from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.message_filter import FilteredDeliveries, filter_deliveries
from celeriac.event_log import Entry, EntryKind, entry_key
from celeriac.service import Service

# Entries in the first chunk of a delivery task. They pass through the main process, which costs as
# much as running them. The process that runs the task then fetches larger chunks itself.
MAX_FIRST = 100


@dataclass(frozen=True, slots=True)
class FetchedChunk:
    """A chunk that was fetched for one group, and its request.

    `more` is how many of the following entries its process may fetch at once, 0 if there are none.
    `is_direct`: the chunk is delivered directly to the worker's own pool.
    """

    state: GroupState
    request: ChunkRequest
    fetched: Fetched
    more: int
    is_direct: bool

    def filter_deliveries(self, retired: Mapping[str, int]) -> FilteredDeliveries:
        """Sort its entries by what the handler does with them."""
        state, patterns = self.state.group, self.fetched.patterns
        given = [Delivery(entry.id, entry.body, 0) for entry in self.fetched.entries]
        return filter_deliveries(self.state.handler, given, patterns, retired, domain=state.domain)

    def chunk(self, filtered: FilteredDeliveries) -> Chunk:
        """Return its delivery task."""
        request, entries = self.request, self.fetched.entries
        return Chunk(
            self.state.handler,
            request.group,
            tuple(filtered.wanted),
            stays=self.is_direct,
            id=request.chunk,
            entries=entries if self.is_direct else None,
            more=self.more,
        )

    def runnable(self, filtered: FilteredDeliveries) -> bool:
        """Return whether to send a task: some wanted entry is certainly no duplicate."""
        if self.state.handler.signed:
            return bool(filtered.wanted)  # the executor detects duplicates after verification
        foreign = {entry.id for entry in self.fetched.entries if entry.kind is EntryKind.FOREIGN}
        return any(item.entry not in foreign for item in filtered.wanted)

    def wanted(self, filtered: FilteredDeliveries) -> list[tuple[Entry, str]]:
        """Return the wanted entries with their event keys."""
        entries = {entry.id: entry for entry in self.fetched.entries}
        return [(entries[item.entry], item.event.key) for item in filtered.wanted]

    def completion(
        self, filtered: FilteredDeliveries, repeated: Collection[str], worker: str
    ) -> ChunkCompletion:
        """Return the completion of a chunk that is not runnable.

        `repeated` entries are ignored. All other wanted entries are requeued as separate
        deliveries, whose claim detects duplicates.
        """
        requeued = [item.requeued(0) for item in filtered.wanted if item.entry not in repeated]
        recorded = [c for c in filtered.unwanted if c.outcome is not Outcome.IGNORED]
        invalid = [Completion(entry, "", 1, Outcome.REQUEUED) for entry, _ in filtered.invalid]
        codes = [run_code(RunOutcome.IGNORED, 0)] * len(repeated)
        ignored = sorted(repeated, key=entry_key)
        entries, now_ms = self.fetched.entries, self.fetched.now_ms
        until = entries[-1].id
        return ChunkCompletion(
            until=until,
            done=len(entries),
            record=pack_runs(worker, now_ms, ignored, codes, until) if ignored else b"",
            exceptions=[replace(c, attempt=1) for c in (*requeued, *recorded, *invalid)],
        )


class ChunkFetcher:
    """Belongs to one dispatcher.

    `is_free` returns whether the worker's own pool accepts a task of a queue at once, `has_slot`
    whether another chunk of a group may be opened. Methods block for round trips and raise
    redis.RedisError.
    """

    def __init__(
        self,
        service: Service,
        is_free: Callable[[str], bool],
        has_slot: Callable[[GroupState], bool],
    ) -> None:
        self.service, self.has_slot = service, has_slot
        self._is_free = is_free
        # Requests without a reply: their entries would wait until the lease expires.
        self._unanswered: list[ChunkRequest] = []

    def fetch(self, states: Sequence[GroupState]) -> list[FetchedChunk]:
        """Fetch a chunk for each group with a free slot, in one round trip for all."""
        self._requeue_unanswered()
        self.count_open([state for state in states if not self.has_slot(state)])
        ready = [state for state in states if self.has_slot(state)]
        requests = [self._request(state) for state in ready]
        if not requests:
            return []
        self._unanswered += requests
        answers = self.service.backend.chunks.fetch(self.service.worker, requests)
        unknown = [fetched.is_unknown for fetched in answers]
        self._answered(requests, unknown)
        chunks = []
        for state, request, fetched in zip(ready, requests, answers, strict=True):
            state.open_chunks = fetched.open_chunks
            more = FEW if fetched.is_unknown else fetched.share(request.count)
            is_direct = self._is_free(state.handler.queue)
            chunks.append(FetchedChunk(state, request, fetched, more, is_direct))
        return chunks

    def count_open(self, states: Sequence[GroupState]) -> None:
        """Count the open chunks of the groups, in one round trip for all."""
        if not states:
            return
        groups = [state.group for state in states]
        counts = self.service.backend.chunks.count_open(self.service.worker, groups)
        for state, count in zip(states, counts, strict=True):
            state.open_chunks = count

    def advance(self, moves: Sequence[Advance], requests: Sequence[ChunkRequest]) -> list[Advanced]:
        """Advance groups past what was read for all of them; `requests` are the opened chunks."""
        self._requeue_unanswered()
        self._unanswered += requests
        answers = self.service.backend.chunks.advance(self.service.worker, moves)
        opening = [
            answer for move, answer in zip(moves, answers, strict=True) if move.chunk is not None
        ]
        self._answered(requests, [answer.is_unknown for answer in opening])
        return answers

    def _request(self, state: GroupState) -> ChunkRequest:
        batch = state.handler.batch
        count = min(state.size.count(state.mean_us, batch), max(MAX_FIRST, batch or 1))
        return ChunkRequest(state.group, new_chunk_id(), count)

    def _answered(self, requests: Sequence[ChunkRequest], unknown: Sequence[bool]) -> None:
        known = {
            request.chunk
            for request, is_unknown in zip(requests, unknown, strict=True)
            if not is_unknown
        }
        self._unanswered = [r for r in self._unanswered if r.chunk not in known]

    def _requeue_unanswered(self) -> None:
        """Requeue unanswered chunks. Those of an unreachable cluster node stay until it is back."""
        waiting, self._unanswered = self._unanswered, []
        failed: list[redis.RedisError] = []
        for request in waiting:
            try:
                self._requeue(request.group, request.chunk)
            except redis.RedisError as error:
                self._unanswered.append(request)
                failed.append(error)
        if failed and len(failed) == len(waiting):
            raise failed[0]

    def repetitions(self, chunk: FetchedChunk, filtered: FilteredDeliveries) -> Repetitions:
        """Return which wanted entries repeat an event."""
        may_repeat = chunk.fetched.is_ambiguous and not chunk.state.handler.signed
        wanted = chunk.wanted(filtered) if may_repeat else []
        if not wanted:
            return Repetitions()
        return self.service.backend.chunks.repetitions(chunk.request.group.domain, wanted)

    def complete(
        self, chunk: FetchedChunk, filtered: FilteredDeliveries, repeated: Collection[str]
    ) -> bool:
        """Complete a chunk that is not runnable; return whether entries of it are due now."""
        chunks, worker = self.service.backend.chunks, self.service.worker
        completion = chunk.completion(filtered, repeated, worker)
        chunks.complete(worker, chunk.request.group, chunk.request.chunk, completion)
        chunk.state.open_chunks -= 1
        return any(c.outcome is Outcome.REQUEUED for c in completion.exceptions)

    def requeue(self, state: GroupState, chunk: str) -> None:
        """Make the entries of the chunk pending and due at once."""
        if self._requeue(state.group, chunk):
            state.open_chunks -= 1

    def _requeue(self, group: Group, chunk: str) -> int:
        # A pool process may begin a sent chunk at any time before this call.
        chunks, worker = self.service.backend.chunks, self.service.worker
        return chunks.requeue(worker, group, chunk, only_queued=True)

    def requeue_queued(self, state: GroupState) -> None:
        """Requeue the chunks of this worker that no process has begun."""
        queued = f"queued:{self.service.worker}"
        for open_chunk in self.service.backend.chunks.open_chunks(state.group):
            if open_chunk.owner == queued:
                self.requeue(state, open_chunk.id)
