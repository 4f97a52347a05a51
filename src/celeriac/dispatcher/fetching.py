"""Fetching chunks for consumer groups whose deliveries need no record before they are processed."""

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
from celeriac.dispatcher.sift import Sifted, sift
from celeriac.event_log import Entry, EntryKind, entry_key
from celeriac.service import Service

# Entries in the chunk that a delivery task begins with. They pass through the main process, which
# costs as much as to run them. The process that runs the task fetches larger chunks by itself.
MAX_FIRST = 100


@dataclass(frozen=True, slots=True)
class FetchedChunk:
    """What one group was given, and the request that it answers. `more` is how many
    entries behind it its process may fetch at once, 0 if there are none.
    `is_direct`: it is handed over to the worker's own pool."""

    state: GroupState
    request: ChunkRequest
    fetched: Fetched
    more: int
    is_direct: bool

    def sift(self, retired: Mapping[str, int]) -> Sifted:
        """Sort its entries by what the handler does with them."""
        state, patterns = self.state.group, self.fetched.patterns
        given = [Delivery(one.id, one.body, 0) for one in self.fetched.entries]
        return sift(self.state.handler, given, patterns, retired, domain=state.domain)

    def chunk(self, sifted: Sifted) -> Chunk:
        """Return the delivery task for it."""
        request, entries = self.request, self.fetched.entries
        return Chunk(
            self.state.handler,
            request.group,
            tuple(sifted.wanted),
            stays=self.is_direct,
            id=request.chunk,
            entries=entries if self.is_direct else None,
            more=self.more,
        )

    def runnable(self, sifted: Sifted) -> bool:
        """Whether a task is to be sent: some of what is wanted is known to be no duplicate."""
        if self.state.handler.signed:
            return bool(sifted.wanted)  # the executor finds the copies once it has verified them
        foreign = {one.id for one in self.fetched.entries if one.kind is EntryKind.FOREIGN}
        return any(item.entry not in foreign for item in sifted.wanted)

    def wanted(self, sifted: Sifted) -> list[tuple[Entry, str]]:
        """Return what is wanted, with the event keys."""
        entries = {one.id: one for one in self.fetched.entries}
        return [(entries[item.entry], item.event.key) for item in sifted.wanted]

    def completion(self, sifted: Sifted, repeated: Collection[str], worker: str) -> ChunkCompletion:
        """Return how to complete it where nothing of it is runnable.

        `repeated` are ignored. All else that is wanted becomes due by itself, and its claim finds
        out whether it is a duplicate.
        """
        released = [item.put_off(0) for item in sifted.wanted if item.entry not in repeated]
        recorded = [one for one in sifted.unwanted if one.outcome is not Outcome.IGNORED]
        invalid = [Completion(entry, "", 1, Outcome.REQUEUED) for entry, _ in sifted.invalid]
        codes = [run_code(RunOutcome.IGNORED, 0)] * len(repeated)
        ignored = sorted(repeated, key=entry_key)
        entries, now_ms = self.fetched.entries, self.fetched.now_ms
        until = entries[-1].id
        return ChunkCompletion(
            until=until,
            done=len(entries),
            record=pack_runs(worker, now_ms, ignored, codes, until) if ignored else b"",
            exceptions=[replace(one, attempt=1) for one in (*released, *recorded, *invalid)],
        )


class ChunkFetcher:
    """Of one dispatcher. `is_free` says whether the worker's own pool takes a task of a queue at
    once, `has_room` whether another chunk of a group may be opened. Every method blocks for round
    trips and raises redis.RedisError."""

    def __init__(
        self,
        service: Service,
        is_free: Callable[[str], bool],
        has_room: Callable[[GroupState], bool],
    ) -> None:
        self.service, self.has_room = service, has_room
        self._is_free = is_free
        # Without an answer: what they were given would wait for the end of its lease.
        self._unanswered: list[ChunkRequest] = []

    def fetch(self, states: Sequence[GroupState]) -> list[FetchedChunk]:
        """Fetch a chunk for each group that has room, in one round trip for all."""
        self._requeue_unanswered()
        self.count_open([state for state in states if not self.has_room(state)])
        ready = [state for state in states if self.has_room(state)]
        requests = [self._request(state) for state in ready]
        if not requests:
            return []
        self._unanswered += requests
        answers = self.service.backend.chunks.fetch(self.service.worker, requests)
        unknown = [one.is_unknown for one in answers]
        self._answered(requests, unknown)
        found = []
        for state, request, fetched in zip(ready, requests, answers, strict=True):
            state.open_chunks = fetched.open_chunks
            more = FEW if fetched.is_unknown else fetched.share(request.count)
            is_direct = self._is_free(state.handler.queue)
            found.append(FetchedChunk(state, request, fetched, more, is_direct))
        return found

    def count_open(self, states: Sequence[GroupState]) -> None:
        """Count the open chunks of the groups, in one round trip for all."""
        if not states:
            return
        groups = [state.group for state in states]
        counts = self.service.backend.chunks.count_open(self.service.worker, groups)
        for state, count in zip(states, counts, strict=True):
            state.open_chunks = count

    def advance(self, moves: Sequence[Advance], requests: Sequence[ChunkRequest]) -> list[Advanced]:
        """Move groups past what was read for all of them; `requests` name the chunks it opens."""
        self._requeue_unanswered()
        self._unanswered += requests
        answers = self.service.backend.chunks.advance(self.service.worker, moves)
        opening = [
            answer for move, answer in zip(moves, answers, strict=True) if move.chunk is not None
        ]
        self._answered(requests, [one.is_unknown for one in opening])
        return answers

    def _request(self, state: GroupState) -> ChunkRequest:
        batch = state.handler.batch
        count = min(state.size.count(state.mean_us, batch), max(MAX_FIRST, batch or 1))
        return ChunkRequest(state.group, new_chunk_id(), count)

    def _answered(self, requests: Sequence[ChunkRequest], unknown: Sequence[bool]) -> None:
        known = {
            one.chunk for one, is_unknown in zip(requests, unknown, strict=True) if not is_unknown
        }
        self._unanswered = [one for one in self._unanswered if one.chunk not in known]

    def _requeue_unanswered(self) -> None:
        """Those of a node of a cluster that is away stay until it is back."""
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

    def repetitions(self, one: FetchedChunk, sifted: Sifted) -> Repetitions:
        """Return which wanted entries repeat an event."""
        is_asked = one.fetched.is_ambiguous and not one.state.handler.signed
        wanted = one.wanted(sifted) if is_asked else []
        if not wanted:
            return Repetitions()
        return self.service.backend.chunks.repetitions(one.request.group.domain, wanted)

    def complete(self, one: FetchedChunk, sifted: Sifted, repeated: Collection[str]) -> bool:
        """Report a chunk of which nothing is to run here; return whether some of it is due now."""
        chunks, worker = self.service.backend.chunks, self.service.worker
        completion = one.completion(sifted, repeated, worker)
        chunks.complete(worker, one.request.group, one.request.chunk, completion)
        one.state.open_chunks -= 1
        return any(each.outcome is Outcome.REQUEUED for each in completion.exceptions)

    def requeue(self, state: GroupState, chunk: str) -> None:
        """Make what is in the chunk pending and due at once."""
        if self._requeue(state.group, chunk):
            state.open_chunks -= 1

    def _requeue(self, group: Group, chunk: str) -> int:
        # A process of the pool may begin a chunk that was sent to it at any time before this.
        chunks, worker = self.service.backend.chunks, self.service.worker
        return chunks.requeue(worker, group, chunk, only_queued=True)

    def requeue_queued(self, state: GroupState) -> None:
        """Requeue the chunks of this worker that no process has begun by then."""
        queued = f"queued:{self.service.worker}"
        for one in self.service.backend.chunks.open_chunks(state.group):
            if one.owner == queued:
                self.requeue(state, one.id)
