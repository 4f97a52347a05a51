"""Open chunks in memory. Implements ChunkStore."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress, ChunkRequest, Fetched
from celeriac.delivery.counters import HandlerStats, add_counter
from celeriac.delivery.delivery import Group
from celeriac.delivery.pending_reply import PendingReply, ReceivedReply
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import Run, RunRecord, parse_runs
from celeriac.delivery.state import DeliveryState
from celeriac.event_log import Entry, entry_key, entry_time_ms
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.store.memory.deliveries import MemoryDeliveryStore
from celeriac.store.memory.repetitions import check_entries
from celeriac.store.memory.stream import MemoryChunk, PendingEntry, entry_id
from celeriac.store.memory.transitions import Transitions


class MemoryChunks:
    """Shares the store and the lock of the delivery store, which completes the exceptions."""

    def __init__(self, deliveries: MemoryDeliveryStore) -> None:
        self.deliveries = deliveries
        self._lock = deliveries.event_log.lock

    def fetch(self, worker: str, requests: Sequence[ChunkRequest]) -> list[Fetched]:
        with self._lock:
            return [self._fetch(worker, request) for request in requests]

    def _fetch(self, worker: str, request: ChunkRequest) -> Fetched:
        moves = self.deliveries.moves(request.group)
        if moves is None:
            return Fetched(removed=True)
        consumers = moves.consumers
        new, is_ambiguous = moves.store.events.after(consumers.last, request.count), False
        if new:
            times = consumers.last[0], entry_time_ms(new[-1][0])
            is_ambiguous = moves.store.ids.is_ambiguous(*times)
            owner = f"{'running' if request.running else 'queued'}:{worker}"
            upto = entry_key(new[-1][0])
            consumers.chunks[request.chunk] = MemoryChunk(consumers.last, upto, owner, moves.now)
            consumers.last = upto
        return Fetched(
            entries=tuple(moves.store.entry(entry, body) for entry, body in new),
            position=entry_id(consumers.last),
            now_ms=moves.now,
            open_chunks=self._count_open(worker, request.group),
            patterns=moves.handler_store.patterns,
            mean_us=moves.handler_store.stats["mean_us"],
            is_ambiguous=is_ambiguous,
            waiting=moves.store.events.count_after(consumers.last),
        )

    def advance(self, worker: str, moves: Sequence[Advance]) -> list[Advanced]:
        with self._lock:
            return [self._advance(worker, move) for move in moves]

    def _advance(self, worker: str, move: Advance) -> Advanced:
        moves, chunk = self.deliveries.moves(move.group), move.chunk
        if moves is None:
            return Advanced()
        consumers, handler_store, is_ambiguous = moves.consumers, moves.handler_store, False
        is_moved = (
            entry_id(consumers.last) == move.after
            and moves.store.events.get(move.upto) is not None
            and (
                not handler_store.patterns
                or handler_store.patterns == tuple(sorted(set(move.patterns)))
            )
        )
        has_open = chunk is None and self._has_open(moves)
        if is_moved and chunk is not None:
            after, upto = entry_key(chunk.after), entry_key(chunk.upto)
            owner = f"queued:{worker}"
            consumers.chunks[chunk.id] = MemoryChunk(after, upto, owner, moves.now, chunk.entries)
            is_ambiguous = moves.store.ids.is_ambiguous(after[0], upto[0])
        if is_moved:
            consumers.last = entry_key(move.upto)
        is_opened = is_moved and chunk is not None
        return Advanced(
            is_moved=is_moved,
            position=entry_id(consumers.last),
            now_ms=moves.now,
            is_ambiguous=is_ambiguous,
            has_open=has_open,
            open_chunks=self._count_open(worker, move.group) if is_opened else 0,
            mean_us=handler_store.stats["mean_us"] if is_opened else 0,
        )

    def _has_open(self, moves: Transitions) -> bool:
        times = [chunk.since_ms for chunk in moves.consumers.chunks.values()]
        now, lease_ms = moves.now, self.deliveries.lease_ms
        has_expired = any(since > now or now - since >= lease_ms for since in times)
        return has_expired or bool(moves.consumers.pending)

    def begin(
        self, worker: str, group: Group, chunk: str, *, read: bool = True
    ) -> list[Entry] | None:
        with self._lock:
            moves = self.deliveries.moves(group)
            open_ = moves.consumers.chunks.get(chunk) if moves else None
            if moves is None or open_ is None or not open_.owner.startswith("queued:"):
                return None
            open_.owner, open_.since_ms = f"running:{worker}", moves.now
            if not read:
                return []
            entries = open_.remaining(moves.store.events)
            return [moves.store.entry(entry, body) for entry, body in entries]

    def begin_progress(
        self, worker: str, group: Group, chunk: str, progress: ChunkProgress
    ) -> PendingReply[bool]:
        with self._lock:
            moves = self.deliveries.moves(group)
            owned = _owned_by(moves, worker, chunk)
            if moves is None or owned is None:
                return ReceivedReply(False)
            until = entry_key(progress.until)
            if until > owned.upto:
                return ReceivedReply(False)
            if until > owned.after:
                owned.after, owned.since_ms = until, moves.now
                _record(moves, worker, progress.until, progress.record)
            return ReceivedReply(True)

    def complete(self, worker: str, group: Group, chunk: str, completion: ChunkCompletion) -> bool:
        with self._lock:
            moves, owner = self.deliveries.moves(group), f"running:{worker}"
            owned = _owned_by(moves, worker, chunk)
            if moves is None or owned is None:
                return False
            until = entry_key(completion.until)
            if until > owned.upto:
                return False
            if until <= owned.after:
                return True
            owned.after, owned.since_ms = until, moves.now
            if until == owned.upto:
                del moves.consumers.chunks[chunk]
            for exception in completion.exceptions:
                moves.consumers.pending[exception.entry] = PendingEntry(owner, moves.now, 2)
            handler_store = moves.handler_store
            _record(moves, worker, completion.until, completion.record)
            for name, number in completion.counts.items():
                handler_store.stats[name] += number
            if completion.mean_us:
                handler_store.stats["mean_us"] = completion.mean_us
            self._count(moves, completion)
            self.deliveries.complete(worker, group, completion.exceptions)
            return True

    def complete_and_fetch(
        self,
        worker: str,
        group: Group,
        chunk: str,
        completion: ChunkCompletion,
        request: ChunkRequest,
    ) -> tuple[bool, Fetched]:
        completed = self.complete(worker, group, chunk, completion)
        return completed, self.fetch(worker, [request])[0]

    def _count(self, moves: Transitions, completion: ChunkCompletion) -> None:
        added: dict[str, HandlerStats] = {}
        for name, number in completion.counters.items():
            add_counter(added, name, str(number).encode())
        minute = moves.handler_store.minutes.setdefault(moves.now // 60_000, {})
        for counters in (moves.handler_store.counters, minute):
            for type, stats in added.items():
                counters.setdefault(type, HandlerStats()).add(stats)

    def renew(self, worker: str, group: Group, chunks: Sequence[str]) -> list[str]:
        with self._lock:
            moves, lost = self.deliveries.moves(group), []
            for chunk in chunks:
                owned = _owned_by(moves, worker, chunk)
                if moves is None or owned is None:
                    lost.append(chunk)
                else:
                    owned.since_ms = moves.now
            return lost

    def requeue(
        self,
        worker: str,
        group: Group,
        chunk: str,
        *,
        only_queued: bool = False,
        after: str | None = None,
    ) -> int:
        with self._lock:
            moves = self.deliveries.moves(group)
            owned = _owned_by(moves, worker, chunk)
            if not moves or not owned or (only_queued and not owned.owner.startswith("queued:")):
                return 0
            if after is None or entry_key(after) <= owned.after:
                return _make_pending(moves, chunk, owned)
            if entry_key(after) >= owned.upto:
                return 0
            requeued = _make_pending(moves, chunk, replace(owned, after=entry_key(after)))
            kept = replace(owned, upto=entry_key(after), since_ms=moves.now)
            moves.consumers.chunks[chunk] = kept
            return requeued

    def reclaim(self, groups: Sequence[Group]) -> int:
        return sum(map(self._reclaim, groups))

    def _reclaim(self, group: Group) -> int:
        with self._lock:
            moves = self.deliveries.moves(group)
            if moves is None:
                return 0
            for open_ in moves.consumers.chunks.values():
                # After the clock stepped back, a lease lasts at most its full length from now.
                open_.since_ms = min(open_.since_ms, moves.now)
            expired = [
                (chunk, open_)
                for chunk, open_ in moves.consumers.chunks.items()
                if moves.now - open_.since_ms >= self.deliveries.lease_ms
            ]
            return sum(_lose(moves, chunk, open_) for chunk, open_ in expired)

    def count_open(self, worker: str, groups: Sequence[Group]) -> list[int]:
        with self._lock:
            return [self._count_open(worker, group) for group in groups]

    def _count_open(self, worker: str, group: Group) -> int:
        moves = self.deliveries.moves(group)
        chunks = moves.consumers.chunks if moves else {}
        return sum(_owned_by(moves, worker, chunk) is not None for chunk in chunks)

    def repetitions(self, domain: str, entries: Sequence[tuple[Entry, str]]) -> Repetitions:
        with self._lock:
            return check_entries(self.deliveries.event_log, domain, entries)

    def now_ms(self) -> int:
        return self.deliveries.event_log.clock.now_ms()

    def open_chunks(self, group: Group) -> list[OpenChunk]:
        with self._lock:
            moves = self.deliveries.moves(group)
            return moves.store.open_chunks(moves.consumers) if moves else []

    def remaining(self, group: Group, chunk: OpenChunk) -> list[Entry]:
        entries = self.deliveries.event_log.read(
            group.domain, start=f"({chunk.after}", end=chunk.upto, count=sys.maxsize
        )
        return [entry for entry in entries if chunk.has(entry.id)]

    def runs(self, group: Group, entries: Sequence[str]) -> list[Run | None]:
        with self._lock:
            moves = self.deliveries.moves(group)
            return [_run_of(moves, entry) if moves else None for entry in entries]


def _record(moves: Transitions, worker: str, until: str, frames: bytes) -> None:
    record = RunRecord("0-0", until, (worker,), frames)
    moves.handler_store.runs |= {run.entry: run for run in parse_runs(record)}


def _run_of(moves: Transitions, entry: str) -> Run | None:
    """Return the run of an entry; None if the entry was trimmed."""
    return (
        moves.handler_store.runs.get(entry) if moves.store.events.get(entry) is not None else None
    )


def _owned_by(moves: Transitions | None, worker: str, chunk: str) -> MemoryChunk | None:
    open_ = moves.consumers.chunks.get(chunk) if moves else None
    owners = (f"queued:{worker}", f"running:{worker}")
    return open_ if open_ is not None and open_.owner in owners else None


def _lose(moves: Transitions, chunk: str, expired: MemoryChunk) -> int:
    """Requeue an expired chunk. Which entry of a running chunk was running is unknown, so each
    loses a run."""
    state = expired.owner.partition(":")[0]
    entries = [entry for entry, _ in expired.remaining(moves.store.events)]
    runs = 1 if state == DeliveryState.RUNNING else 0
    if runs:
        moves.handler_store.lost_runs |= dict.fromkeys(entries, runs)
    if entries:
        moves.handler_store.stats[f"lost {state}"] += len(entries)
    return _make_pending(moves, chunk, expired, runs)


def _make_pending(moves: Transitions, chunk: str, removed: MemoryChunk, runs: int = 0) -> int:
    """Make the rest of a chunk separate deliveries, due at once, with `runs` begun runs."""
    entries = [entry for entry, _ in removed.remaining(moves.store.events)]
    del moves.consumers.chunks[chunk]
    for entry in entries:
        moves.consumers.pending[entry] = PendingEntry(
            DeliveryState.SCHEDULED, moves.now, 1 + runs, moves.now
        )
    if entries:
        moves.notify()
    return len(entries)
