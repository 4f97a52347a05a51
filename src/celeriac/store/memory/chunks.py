"""Open chunks in memory: see ChunkStore for the promises."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import Completion, Fetched, FetchRequest
from celeriac.delivery.counters import Tally, add_tally
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import Run, RunRecord, parse_runs
from celeriac.delivery.state import Place
from celeriac.delivery.store import Lane
from celeriac.event_log import Entry, entry_key, entry_time_ms
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.store.memory.deliveries import MemoryLedger
from celeriac.store.memory.repetitions import check_entries
from celeriac.store.memory.stream import Held, HeldChunk, entry_id
from celeriac.store.memory.transitions import Moves


class MemoryChunks:
    """Shares the store and the lock of the ledger, which takes the exceptions."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self.ledger = ledger
        self._lock = ledger.log.lock

    def fetch(self, worker: str, requests: Sequence[FetchRequest]) -> list[Fetched]:
        with self._lock:
            return [self._fetch(worker, request) for request in requests]

    def _fetch(self, worker: str, request: FetchRequest) -> Fetched:
        moves = self.ledger.moves(request.lane)
        if moves is None:
            return Fetched(removed=True)
        group = moves.group
        found, is_ambiguous = moves.store.events.after(group.last, request.count), False
        if found:
            times = group.last[0], entry_time_ms(found[-1][0])
            is_ambiguous = moves.store.ids.is_ambiguous(*times)
            owner = f"{'running' if request.running else 'queued'}:{worker}"
            upto = entry_key(found[-1][0])
            group.chunks[request.chunk] = HeldChunk(group.last, upto, owner, moves.now)
            group.last = upto
        return Fetched(
            entries=tuple(moves.store.entry(entry, body) for entry, body in found),
            position=entry_id(group.last),
            now_ms=moves.now,
            open_chunks=self._count_open(worker, request.lane),
            patterns=moves.book.patterns,
            mean_us=moves.book.stats["mean_us"],
            is_ambiguous=is_ambiguous,
        )

    def advance(self, worker: str, moves: Sequence[Advance]) -> list[Advanced]:
        with self._lock:
            return [self._advance(worker, move) for move in moves]

    def _advance(self, worker: str, move: Advance) -> Advanced:
        moves, chunk = self.ledger.moves(move.lane), move.chunk
        if moves is None:
            return Advanced()
        group, book, is_ambiguous = moves.group, moves.book, False
        is_moved = (
            entry_id(group.last) == move.after
            and moves.store.events.get(move.upto) is not None
            and (not book.patterns or book.patterns == tuple(sorted(set(move.patterns))))
        )
        has_open = bool(group.pending or group.chunks)
        if is_moved and chunk is not None:
            after, upto = entry_key(chunk.after), entry_key(chunk.upto)
            group.chunks[chunk.id] = HeldChunk(after, upto, f"queued:{worker}", moves.now)
            is_ambiguous = moves.store.ids.is_ambiguous(after[0], upto[0])
        if is_moved:
            group.last = entry_key(move.upto)
        is_opened = is_moved and chunk is not None
        return Advanced(
            is_moved=is_moved,
            position=entry_id(group.last),
            now_ms=moves.now,
            is_ambiguous=is_ambiguous,
            has_open=has_open,
            open_chunks=self._count_open(worker, move.lane) if is_opened else 0,
            mean_us=book.stats["mean_us"] if is_opened else 0,
        )

    def begin(
        self, worker: str, lane: Lane, chunk: str, *, read: bool = True
    ) -> list[Entry] | None:
        with self._lock:
            moves = self.ledger.moves(lane)
            held = moves.group.chunks.get(chunk) if moves else None
            if moves is None or held is None or not held.owner.startswith("queued:"):
                return None
            held.owner, held.since_ms = f"running:{worker}", moves.now
            if not read:
                return []
            return [moves.store.entry(entry, body) for entry, body in _left(moves, held)]

    def complete(self, worker: str, lane: Lane, chunk: str, completion: Completion) -> bool:
        with self._lock:
            moves, owner = self.ledger.moves(lane), f"running:{worker}"
            held = _held_by(moves, worker, chunk)
            if moves is None or held is None:
                return False
            until = entry_key(completion.until)
            if until <= held.after:
                return True
            held.after, held.since_ms = until, moves.now
            if until == held.upto:
                del moves.group.chunks[chunk]
            for one in completion.exceptions:
                moves.group.pending[one.entry] = Held(owner, moves.now, 2)
            book = moves.book
            record = RunRecord("0-0", completion.until, (worker,), completion.record)
            book.runs |= {run.entry: run for run in parse_runs(record)}
            for name, number in completion.counts.items():
                book.stats[name] += number
            if completion.mean_us:
                book.stats["mean_us"] = completion.mean_us
            self._tally(moves, completion)
            self.ledger.finish(worker, lane, completion.exceptions)
            return True

    def complete_and_fetch(
        self, worker: str, lane: Lane, chunk: str, completion: Completion, request: FetchRequest
    ) -> tuple[bool, Fetched]:
        completed = self.complete(worker, lane, chunk, completion)
        return completed, self.fetch(worker, [request])[0]

    def _tally(self, moves: Moves, completion: Completion) -> None:
        told: dict[str, Tally] = {}
        for name, number in completion.tallies.items():
            add_tally(told, name, str(number).encode())
        minute = moves.book.minutes.setdefault(moves.now // 60_000, {})
        for tallies in (moves.book.tallies, minute):
            for type, tally in told.items():
                tallies.setdefault(type, Tally()).add(tally)

    def renew(self, worker: str, lane: Lane, chunks: Sequence[str]) -> list[str]:
        with self._lock:
            moves, lost = self.ledger.moves(lane), []
            for chunk in chunks:
                held = _held_by(moves, worker, chunk)
                if moves is None or held is None:
                    lost.append(chunk)
                else:
                    held.since_ms = moves.now
            return lost

    def requeue(self, worker: str, lane: Lane, chunk: str) -> int:
        with self._lock:
            moves = self.ledger.moves(lane)
            held = _held_by(moves, worker, chunk)
            return _make_pending(moves, chunk, held) if moves and held else 0

    def reclaim(self, lanes: Sequence[Lane]) -> int:
        return sum(map(self._reclaim, lanes))

    def _reclaim(self, lane: Lane) -> int:
        with self._lock:
            moves = self.ledger.moves(lane)
            if moves is None:
                return 0
            for held in moves.group.chunks.values():
                # The clock stepped back: the lease lasts no longer than its length from here on.
                held.since_ms = min(held.since_ms, moves.now)
            expired = [
                (chunk, held)
                for chunk, held in moves.group.chunks.items()
                if moves.now - held.since_ms >= self.ledger.lease_ms
            ]
            return sum(_lose(moves, chunk, held) for chunk, held in expired)

    def count_open(self, worker: str, lanes: Sequence[Lane]) -> list[int]:
        with self._lock:
            return [self._count_open(worker, lane) for lane in lanes]

    def _count_open(self, worker: str, lane: Lane) -> int:
        moves = self.ledger.moves(lane)
        chunks = moves.group.chunks if moves else {}
        return sum(_held_by(moves, worker, chunk) is not None for chunk in chunks)

    def repetitions(self, domain: str, entries: Sequence[tuple[Entry, str]]) -> Repetitions:
        with self._lock:
            return check_entries(self.ledger.log, domain, entries)

    def now_ms(self) -> int:
        return self.ledger.log.clock.now_ms()

    def open_chunks(self, lane: Lane) -> list[OpenChunk]:
        with self._lock:
            moves = self.ledger.moves(lane)
            return moves.store.open_chunks(moves.group) if moves else []

    def runs(self, lane: Lane, entries: Sequence[str]) -> list[Run | None]:
        with self._lock:
            moves = self.ledger.moves(lane)
            return [_run_of(moves, entry) if moves else None for entry in entries]


def _run_of(moves: Moves, entry: str) -> Run | None:
    """None of an entry that was trimmed."""
    return moves.book.runs.get(entry) if moves.store.events.get(entry) is not None else None


def _left(moves: Moves, held: HeldChunk) -> list[tuple[str, bytes]]:
    return moves.store.events.range(f"({entry_id(held.after)}", entry_id(held.upto))


def _held_by(moves: Moves | None, worker: str, chunk: str) -> HeldChunk | None:
    held = moves.group.chunks.get(chunk) if moves else None
    owners = (f"queued:{worker}", f"running:{worker}")
    return held if held is not None and held.owner in owners else None


def _lose(moves: Moves, chunk: str, held: HeldChunk) -> int:
    """The lease expired. Nothing tells which entry of a running chunk was under way: each has lost
    a run."""
    place, entries = held.owner.partition(":")[0], [entry for entry, _ in _left(moves, held)]
    runs = 1 if place == Place.RUNNING else 0
    if runs:
        moves.book.lost_runs |= dict.fromkeys(entries, runs)
    if entries:
        moves.book.stats[f"lost {place}"] += len(entries)
    return _make_pending(moves, chunk, held, runs)


def _make_pending(moves: Moves, chunk: str, held: HeldChunk, runs: int = 0) -> int:
    """Each entry that is left becomes a delivery of its own, due at once, which began `runs`."""
    left = _left(moves, held)
    del moves.group.chunks[chunk]
    for entry, _ in left:
        moves.group.pending[entry] = Held(Place.DUE, moves.now, 1 + runs, moves.now)
    if left:
        moves.ring()
    return len(left)
