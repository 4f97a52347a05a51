"""Open chunks on Redis or Valkey. Implements ChunkStore."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from celeriac.delivery.advance import Advance, Advanced, NewChunk
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress, ChunkRequest, Fetched
from celeriac.delivery.delivery import Group
from celeriac.delivery.pending_reply import PendingReply
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import Run
from celeriac.event_log import Entry, entry_key, read_entry
from celeriac.event_log.open_chunk import (
    OpenChunk,
    chunks_by_id,
    in_log_order,
    parse_chunk,
    parse_chunks,
)
from celeriac.invalid_record import is_wrong_type
from celeriac.store.redis.connection import is_transient
from celeriac.store.redis.deliveries import RedisDeliveryStore, as_mapping
from celeriac.store.redis.delivery_reader import unless_no_group
from celeriac.store.redis.delivery_script import pack_lists, parse_patterns, patterns_text
from celeriac.store.redis.repetitions import read_repetitions
from celeriac.store.redis.run_records import find_runs, inspect_runs
from celeriac.store.redis.script import Script
from celeriac.store.redis.server_clock import is_wrong_clock

_fetch_begin, _fetch_end, _begin, _progress, _complete = (
    Script(f"{name}.lua")
    for name in ("fetch_begin", "fetch_end", "begin_chunk", "progress_chunk", "complete_chunk")
)
_renew, _requeue, _reclaim, _advance = (
    Script(f"{name}.lua") for name in ("renew_chunks", "requeue_chunk", "reclaim_chunks", "advance")
)

# Groups that one call advances: a thousand would block the server for milliseconds.
MAX_GROUPS = 256


class RedisChunks:
    """Shares client, keys and lease with the delivery store, which completes the exceptions."""

    def __init__(self, deliveries: RedisDeliveryStore) -> None:
        self.deliveries = deliveries
        self.client, self.keys = deliveries.client, deliveries.keys
        self.clock = deliveries.clock
        self._keys, self._on = deliveries.keys_of, deliveries.unless_removed

    def fetch(self, worker: str, requests: Sequence[ChunkRequest]) -> list[Fetched]:
        answers = self.client.transact_many(
            [self._fetch_commands(worker, request) for request in requests]
        )
        _raise_if_all_away(answers)
        return [
            self._fetched(request.group, answer)
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _fetch_commands(self, worker: str, request: ChunkRequest) -> Sequence[Sequence[Any]]:
        group = request.group
        begin, end = (
            self._keys(_fetch_begin, group),
            self._keys(_fetch_end, group),
        )
        owner = f"{'running' if request.running else 'queued'}:{worker}"
        stream = self.keys.events(group.domain)
        read = ("GROUP", group.handler, owner, "COUNT", request.count, "NOACK", "STREAMS", stream)
        return (
            _fetch_begin.in_full(begin, group.handler),
            ("XREADGROUP", *read, ">"),
            _fetch_end.in_full(end, group.handler, request.chunk, owner, request.count),
        )

    def _fetched(self, group: Group, answer: list[Any] | Exception) -> Fetched:
        failed = answer if isinstance(answer, Exception) else _first_error(answer)
        if failed is not None:
            if "NOGROUP" in str(failed):
                return Fetched(removed=True)
            if is_wrong_type(failed):
                # Other groups continue.
                self.deliveries.inspect(group)
                return Fetched()
            if is_transient(failed):
                return Fetched(is_unknown=True)
            raise failed
        assert isinstance(answer, list)
        _, streams, (now_ms, open_chunks, patterns, mean_us, is_ambiguous, position, waiting) = (
            answer
        )
        self.clock.note(int(now_ms))
        # A map in RESP3, a list of pairs in RESP2.
        pairs = streams.items() if isinstance(streams, dict) else streams or ()
        stored = [entry for _, entries in pairs for entry in entries]
        return Fetched(
            entries=_entries(stored),
            position=position.decode(),
            now_ms=int(now_ms),
            open_chunks=int(open_chunks),
            patterns=parse_patterns(patterns),
            mean_us=int(mean_us),
            is_ambiguous=bool(is_ambiguous),
            waiting=int(waiting) if waiting >= 0 else None,
        )

    def advance(self, worker: str, moves: Sequence[Advance]) -> list[Advanced]:
        of_domain: dict[str, list[int]] = {}
        for n, move in enumerate(moves):
            of_domain.setdefault(move.group.domain, []).append(n)
        calls = [call for numbers in of_domain.values() for call in batched(numbers)]
        answers = _advance.on_keys_many(
            self.client, [self._advance_call(worker, [moves[n] for n in call]) for call in calls]
        )
        _raise_if_all_away(answers)
        advanced: dict[int, Advanced] = {}
        for call, answer in zip(calls, answers, strict=True):
            if not isinstance(answer, Exception):
                advanced.update(zip(call, self._advanced(answer), strict=True))
            elif is_wrong_type(answer):
                self.deliveries.inspect(moves[call[0]].group)
            elif not is_transient(answer):
                raise answer
        return [advanced.get(n, Advanced(is_unknown=True)) for n in range(len(moves))]

    def _advance_call(
        self, worker: str, moves: Sequence[Advance]
    ) -> tuple[Sequence[str], Sequence[Any]]:
        """Return the keys and the arguments of advance.lua."""
        keys, first = self.keys, moves[0].group
        domain, named = first.domain, [*self._keys(_advance, first)]
        args: list[Any] = []
        for move in moves:
            handler, chunk = move.group.handler, move.chunk
            named += (
                keys.chunks(domain, handler),
                keys.patterns(domain, handler),
                keys.stats(domain, handler),
            )
            args += (handler, move.after, move.upto, move.entries, patterns_text(move.patterns))
            args += (*_chunk_arguments(chunk), move.following, move.read)
        return named, (*args, self.deliveries.lease_ms, f"queued:{worker}")

    def _advanced(self, answer: list[Any]) -> list[Advanced]:
        now_ms, is_ambiguous, *groups = answer
        self.clock.note(int(now_ms))
        return [
            Advanced(
                is_moved=bool(is_moved),
                position=position.decode(),
                now_ms=int(now_ms),
                is_ambiguous=bool(is_ambiguous),
                has_open=bool(has_open),
                open_chunks=int(open_chunks),
                mean_us=int(mean_us),
                entries_read=int(entries_read),
            )
            for is_moved, position, has_open, open_chunks, mean_us, entries_read in groups
        ]

    def begin(
        self, worker: str, group: Group, chunk: str, *, read: bool = True
    ) -> list[Entry] | None:
        interval = self._on(_begin, group, group.handler, chunk, worker)
        if interval is None:
            return None
        if not read:
            return []
        after, upto, sparse = (part.decode() for part in interval)
        return self._read(group, after, upto, sparse.split())

    def _read(self, group: Group, after: str, upto: str, entries: Collection[str]) -> list[Entry]:
        """Return the rest of a chunk in the log. A sparse chunk has only these `entries`."""
        stream, ranges = self.keys.events(group.domain), [(f"({after}", upto)]
        if entries:
            begins = entry_key(after)
            ranges = [(entry, entry) for entry in entries if entry_key(entry) > begins]
        pages = self.client.execute_many([("XRANGE", stream, *bounds) for bounds in ranges])
        return [entry for page in pages for entry in _entries(page)]

    def begin_progress(
        self, worker: str, group: Group, chunk: str, progress: ChunkProgress
    ) -> PendingReply[bool]:
        reply = _progress.begin(
            self.client,
            self._keys(_progress, group),
            group.handler,
            chunk,
            worker,
            progress.until,
            progress.done,
            progress.record,
        )
        return ProgressReply(reply)

    def complete(self, worker: str, group: Group, chunk: str, completion: ChunkCompletion) -> bool:
        if not completion.exceptions:

            def complete() -> Any:
                call = self._complete_call(worker, group, chunk, completion)
                return _complete.on_keys(self.client, *call)

            return bool(unless_no_group(lambda: self.clock.corrected(complete)))
        call = self._complete_call(worker, group, chunk, completion)
        more = self._exceptions_command(worker, group, chunk, completion)
        [answer] = self.client.transact_many([(_complete.of_keys(*call), *more)])
        return self._completed(answer, worker, group, chunk, completion)

    def complete_and_fetch(
        self,
        worker: str,
        group: Group,
        chunk: str,
        completion: ChunkCompletion,
        request: ChunkRequest,
    ) -> tuple[bool, Fetched]:
        call = self._complete_call(worker, group, chunk, completion)
        more = self._exceptions_command(worker, group, chunk, completion)
        answer, fetched = self.client.transact_many(
            [(_complete.of_keys(*call), *more), self._fetch_commands(worker, request)]
        )
        _raise_if_all_away([answer, fetched])
        completed = self._completed(answer, worker, group, chunk, completion)
        return completed, self._fetched(request.group, fetched)

    def _complete_call(
        self, worker: str, group: Group, chunk: str, completion: ChunkCompletion
    ) -> tuple[Any, ...]:
        """Return the keys and the arguments of complete_chunk.lua."""
        now_ms = self.clock.now_ms()
        return (
            _complete.keys(self.keys, group.domain, group.handler, now_ms),
            group.handler,
            chunk,
            worker,
            completion.until,
            completion.done,
            completion.mean_us,
            completion.record,
            pack_lists([[exception.entry for exception in completion.exceptions]])
            if completion.exceptions
            else b"",
            pack_lists((list(completion.counts), list(completion.counts.values()))),
            pack_lists((list(completion.counters), list(completion.counters.values()))),
        )

    def _exceptions_command(
        self, worker: str, group: Group, chunk: str, completion: ChunkCompletion
    ) -> Sequence[Sequence[Any]]:
        """Return the command that completes the exceptions, if there are any."""
        if not completion.exceptions:
            return ()
        owner = f"running:{worker}"
        return (self.deliveries.completion_command(owner, group, completion.exceptions, chunk),)

    def _completed(
        self,
        answer: list[Any] | Exception,
        worker: str,
        group: Group,
        chunk: str,
        completion: ChunkCompletion,
    ) -> bool:
        """Process the replies of complete_chunk.lua and, if there are exceptions, complete.lua."""
        if isinstance(answer, list) and (
            isinstance(answer[0], NoScriptError) or is_wrong_clock(answer[0])
        ):
            # complete.lua found no completion, so it changed nothing.
            if is_wrong_clock(answer[0]):
                self.clock.forget()
            call = self._complete_call(worker, group, chunk, completion)
            more = self._exceptions_command(worker, group, chunk, completion)
            [answer] = self.client.transact_many([(_complete.in_full(*call), *more)])
        if isinstance(answer, Exception):
            answer = [answer]
        completed, *others = answer
        if isinstance(completed, Exception):
            if "NOGROUP" in str(completed):
                return False
            raise completed
        if completed and any(
            isinstance(other, NoScriptError) or is_wrong_clock(other) for other in others
        ):
            # The exceptions are already running deliveries of this worker.
            self.deliveries.complete(worker, group, completion.exceptions)
        # Without a completion, complete.lua changes nothing, whether the server has it or not.
        elif failed := _first_error([e for e in others if not isinstance(e, NoScriptError)]):
            raise failed
        return bool(completed)

    def renew(self, worker: str, group: Group, chunks: Sequence[str]) -> list[str]:
        lost = self._on(_renew, group, group.handler, worker, *chunks) if chunks else []
        return [chunk.decode() for chunk in lost or ()]

    def requeue(
        self,
        worker: str,
        group: Group,
        chunk: str,
        *,
        only_queued: bool = False,
        after: str | None = None,
    ) -> int:
        args = (group.handler, chunk, worker, int(only_queued), after or "")
        try:
            return int(self._on(_requeue, group, *args) or 0)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            self.deliveries.inspect(group)
            return 0

    def reclaim(self, groups: Sequence[Group]) -> int:
        lease_ms = self.deliveries.lease_ms
        calls = [(self._keys(_reclaim, group), (group.handler, lease_ms)) for group in groups]
        answers = _reclaim.on_keys_many(self.client, calls) if calls else []
        for group, answer in zip(groups, answers, strict=True):
            if not isinstance(answer, Exception) or "NOGROUP" in str(answer):
                continue
            if not is_wrong_type(answer):
                raise answer
            self.deliveries.inspect(group)
        return sum(int(answer) for answer in answers if not isinstance(answer, Exception))

    def count_open(self, worker: str, groups: Sequence[Group]) -> list[int]:
        owners = {f"queued:{worker}", f"running:{worker}"}
        keys = [self.keys.chunks(group.domain, group.handler) for group in groups]
        answers = self.client.execute_many([("HGETALL", key) for key in keys]) if keys else []
        failed = [a for a in answers if isinstance(a, Exception) and not is_wrong_type(a)]
        if failed:
            raise failed[0]
        stored = [{} if isinstance(a, Exception) else as_mapping(a) for a in answers]
        return [sum(chunk.owner in owners for chunk in parse_chunks(s)) for s in stored]

    def open_chunks(self, group: Group) -> list[OpenChunk]:
        key, invalid = self.keys.chunks(group.domain, group.handler), self.deliveries.invalid
        stored = invalid.unless_wrong_type(key, lambda: self.client.hgetall(key), {})
        fields = chunks_by_id(stored)
        return in_log_order(invalid.decode_all(key, fields, parse_chunk).values())

    def remaining(self, group: Group, chunk: OpenChunk) -> list[Entry]:
        return self._read(group, chunk.after, chunk.upto, chunk.entries)

    def runs(self, group: Group, entries: Sequence[str]) -> list[Run | None]:
        key = self.keys.runs(group.domain, group.handler)
        runs = find_runs(self.client, key, self.deliveries.invalid, entries)
        return [runs.get(entry) for entry in entries]

    def inspect(self, groups: Sequence[Group]) -> None:
        """Report invalid open chunks, and invalid ones among the newest run records."""
        for group in groups:
            self.open_chunks(group)
        keys = [self.keys.runs(group.domain, group.handler) for group in groups]
        inspect_runs(self.client, keys, self.deliveries.invalid)

    def repetitions(self, domain: str, entries: Sequence[tuple[Entry, str]]) -> Repetitions:
        return read_repetitions(self.client, self.keys, domain, entries)

    def now_ms(self) -> int:
        return self.clock.now_ms()


@dataclass(frozen=True, slots=True)
class ProgressReply:
    """The reply of progress_chunk.lua."""

    reply: PendingReply[Any]

    def result(self) -> bool:
        return bool(unless_no_group(self.reply.result))


def _chunk_arguments(chunk: NewChunk | None) -> tuple[Any, ...]:
    if chunk is None:
        return ("",) * 5
    entries = "".join(f" {entry}" for entry in chunk.entries)
    return (chunk.id, chunk.after, chunk.upto, chunk.count, entries)


def _entries(answer: Any) -> tuple[Entry, ...]:
    if isinstance(answer, Exception):
        raise answer
    return tuple([read_entry(entry, fields) for entry, fields in answer])


def _raise_if_all_away(answers: Sequence[Any]) -> None:
    """Raise if all nodes are unreachable. Otherwise the other nodes' replies must not be lost."""
    away = [a for a in answers if isinstance(a, Exception) and is_transient(a)]
    if away and len(away) == len(answers):
        raise away[0]


def _first_error(answers: Sequence[Any]) -> Exception | None:
    return next((answer for answer in answers if isinstance(answer, Exception)), None)


def batched(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Return slices of at most MAX_GROUPS."""
    for start in range(0, len(numbers), MAX_GROUPS):
        yield numbers[start : start + MAX_GROUPS]
