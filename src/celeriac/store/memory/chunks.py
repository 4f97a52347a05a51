"""Open chunks in memory: see ChunkStore for the promises."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest, Fetched
from celeriac.delivery.counters import HandlerStats, add_tally
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import Run, RunRecord, parse_runs
from celeriac.delivery.state import DeliveryState
from celeriac.delivery.store import Group
from celeriac.event_log import Entry, entry_key, entry_time_ms
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.store.memory.deliveries import MemoryDeliveryStore
from celeriac.store.memory.repetitions import check_entries
from celeriac.store.memory.stream import Held, HeldChunk, entry_id
from celeriac.store.memory.transitions import Transitions


class MemoryChunks:
    """Shares the store and the lock of the ledger, which takes the exceptions."""

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
        found, is_ambiguous = moves.store.events.after(consumers.last, request.count), False
        if found:
            times = consumers.last[0], entry_time_ms(found[-1][0])
            is_ambiguous = moves.store.ids.is_ambiguous(*times)
            owner = f"{'running' if request.running else 'queued'}:{worker}"
            upto = entry_key(found[-1][0])
            consumers.chunks[request.chunk] = HeldChunk(consumers.last, upto, owner, moves.now)
            consumers.last = upto
        return Fetched(
            entries=tuple(moves.store.entry(entry, body) for entry, body in found),
            position=entry_id(consumers.last),
            now_ms=moves.now,
            open_chunks=self._count_open(worker, request.group),
            patterns=moves.handler_store.patterns,
            mean_us=moves.handler_store.stats["mean_us"],
            is_ambiguous=is_ambiguous,
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
        has_open = bool(consumers.pending or consumers.chunks)
        if is_moved and chunk is not None:
            after, upto = entry_key(chunk.after), entry_key(chunk.upto)
            consumers.chunks[chunk.id] = HeldChunk(after, upto, f"queued:{worker}", moves.now)
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

    def begin(
        self, worker: str, group: Group, chunk: str, *, read: bool = True
    ) -> list[Entry] | None:
        with self._lock:
            moves = self.deliveries.moves(group)
            held = moves.consumers.chunks.get(chunk) if moves else None
            if moves is None or held is None or not held.owner.startswith("queued:"):
                return None
            held.owner, held.since_ms = f"running:{worker}", moves.now
            if not read:
                return []
            return [moves.store.entry(entry, body) for entry, body in _left(moves, held)]

    def complete(self, worker: str, group: Group, chunk: str, completion: ChunkCompletion) -> bool:
        with self._lock:
            moves, owner = self.deliveries.moves(group), f"running:{worker}"
            held = _held_by(moves, worker, chunk)
            if moves is None or held is None:
                return False
            until = entry_key(completion.until)
            if until <= held.after:
                return True
            held.after, held.since_ms = until, moves.now
            if until == held.upto:
                del moves.consumers.chunks[chunk]
            for one in completion.exceptions:
                moves.consumers.pending[one.entry] = Held(owner, moves.now, 2)
            handler_store = moves.handler_store
            runs = RunRecord("0-0", completion.until, (worker,), completion.record)
            handler_store.runs |= {run.entry: run for run in parse_runs(runs)}
            for name, number in completion.counts.items():
                handler_store.stats[name] += number
            if completion.mean_us:
                handler_store.stats["mean_us"] = completion.mean_us
            self._tally(moves, completion)
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

    def _tally(self, moves: Transitions, completion: ChunkCompletion) -> None:
        told: dict[str, HandlerStats] = {}
        for name, number in completion.counters.items():
            add_tally(told, name, str(number).encode())
        minute = moves.handler_store.minutes.setdefault(moves.now // 60_000, {})
        for counters in (moves.handler_store.counters, minute):
            for type, tally in told.items():
                counters.setdefault(type, HandlerStats()).add(tally)

    def renew(self, worker: str, group: Group, chunks: Sequence[str]) -> list[str]:
        with self._lock:
            moves, lost = self.deliveries.moves(group), []
            for chunk in chunks:
                held = _held_by(moves, worker, chunk)
                if moves is None or held is None:
                    lost.append(chunk)
                else:
                    held.since_ms = moves.now
            return lost

    def requeue(self, worker: str, group: Group, chunk: str, *, only_queued: bool = False) -> int:
        with self._lock:
            moves = self.deliveries.moves(group)
            held = _held_by(moves, worker, chunk)
            if not moves or not held or (only_queued and not held.owner.startswith("queued:")):
                return 0
            return _make_pending(moves, chunk, held)

    def reclaim(self, groups: Sequence[Group]) -> int:
        return sum(map(self._reclaim, groups))

    def _reclaim(self, group: Group) -> int:
        with self._lock:
            moves = self.deliveries.moves(group)
            if moves is None:
                return 0
            for held in moves.consumers.chunks.values():
                # The clock stepped back: the lease lasts no longer than its length from here on.
                held.since_ms = min(held.since_ms, moves.now)
            expired = [
                (chunk, held)
                for chunk, held in moves.consumers.chunks.items()
                if moves.now - held.since_ms >= self.deliveries.lease_ms
            ]
            return sum(_lose(moves, chunk, held) for chunk, held in expired)

    def count_open(self, worker: str, groups: Sequence[Group]) -> list[int]:
        with self._lock:
            return [self._count_open(worker, group) for group in groups]

    def _count_open(self, worker: str, group: Group) -> int:
        moves = self.deliveries.moves(group)
        chunks = moves.consumers.chunks if moves else {}
        return sum(_held_by(moves, worker, chunk) is not None for chunk in chunks)

    def repetitions(self, domain: str, entries: Sequence[tuple[Entry, str]]) -> Repetitions:
        with self._lock:
            return check_entries(self.deliveries.event_log, domain, entries)

    def now_ms(self) -> int:
        return self.deliveries.event_log.clock.now_ms()

    def open_chunks(self, group: Group) -> list[OpenChunk]:
        with self._lock:
            moves = self.deliveries.moves(group)
            return moves.store.open_chunks(moves.consumers) if moves else []

    def runs(self, group: Group, entries: Sequence[str]) -> list[Run | None]:
        with self._lock:
            moves = self.deliveries.moves(group)
            return [_run_of(moves, entry) if moves else None for entry in entries]


def _run_of(moves: Transitions, entry: str) -> Run | None:
    """None of an entry that was trimmed."""
    return (
        moves.handler_store.runs.get(entry) if moves.store.events.get(entry) is not None else None
    )


def _left(moves: Transitions, held: HeldChunk) -> list[tuple[str, bytes]]:
    return moves.store.events.range(f"({entry_id(held.after)}", entry_id(held.upto))


def _held_by(moves: Transitions | None, worker: str, chunk: str) -> HeldChunk | None:
    held = moves.consumers.chunks.get(chunk) if moves else None
    owners = (f"queued:{worker}", f"running:{worker}")
    return held if held is not None and held.owner in owners else None


def _lose(moves: Transitions, chunk: str, held: HeldChunk) -> int:
    """The lease expired. Nothing tells which entry of a running chunk was under way: each has lost
    a run."""
    place, entries = held.owner.partition(":")[0], [entry for entry, _ in _left(moves, held)]
    runs = 1 if place == DeliveryState.RUNNING else 0
    if runs:
        moves.handler_store.lost_runs |= dict.fromkeys(entries, runs)
    if entries:
        moves.handler_store.stats[f"lost {place}"] += len(entries)
    return _make_pending(moves, chunk, held, runs)


def _make_pending(moves: Transitions, chunk: str, held: HeldChunk, runs: int = 0) -> int:
    """Each entry that is left becomes a delivery of its own, due at once, which began `runs`."""
    left = _left(moves, held)
    del moves.consumers.chunks[chunk]
    for entry, _ in left:
        moves.consumers.pending[entry] = Held(
            DeliveryState.SCHEDULED, moves.now, 1 + runs, moves.now
        )
    if left:
        moves.ring()
    return len(left)
