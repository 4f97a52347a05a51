"""Open chunks on Redis or Valkey: see ChunkStore for the promises."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from celeriac.connection import server_time_ms
from celeriac.ledger.chunk_store import Completion, Fetched, FetchRequest
from celeriac.ledger.ledger import Lane
from celeriac.ledger.redis import RedisLedger, unless_no_group
from celeriac.ledger.run_record import Run, parse_runs
from celeriac.ledger.script import pack_lists
from celeriac.log import Entry, entry_key, entry_time_ms
from celeriac.log.open_chunk import OpenChunk, parse_chunks
from celeriac.scripts import Script

_fetch_begin, _fetch_end, _begin, _complete = (
    Script("celeriac.ledger", f"{name}.lua")
    for name in ("fetch_begin", "fetch_end", "begin_chunk", "complete_chunk")
)
_renew, _requeue, _reclaim = (
    Script("celeriac.ledger", f"{name}.lua")
    for name in ("renew_chunks", "requeue_chunk", "reclaim_chunks")
)
RECORDS = 16  # run records read at a time


class RedisChunks:
    """Shares client, keys and lease with the ledger, which takes the exceptions."""

    def __init__(self, ledger: RedisLedger) -> None:
        self.ledger = ledger
        self.client, self.keys = ledger.client, ledger.keys
        # The server's time in ms and the process' monotonic clock, at one moment.
        self._time: tuple[int, float] | None = None

    def fetch(self, worker: str, requests: Sequence[FetchRequest]) -> list[Fetched]:
        answers = self.client.transact_many([self._fetching(worker, one) for one in requests])
        return [self._fetched(answer) for answer in answers]

    def _fetching(self, worker: str, request: FetchRequest) -> Sequence[Sequence[Any]]:
        lane, keys = request.lane, self._keys(request.lane)
        owner = f"{'running' if request.running else 'queued'}:{worker}"
        read = ("GROUP", lane.handler, owner, "COUNT", request.count, "NOACK", "STREAMS", keys[0])
        return (
            _fetch_begin.in_full(keys, lane.handler),
            ("XREADGROUP", *read, ">"),
            _fetch_end.in_full(keys, lane.handler, request.chunk, owner, request.count),
        )

    def _fetched(self, answer: list[Any] | Exception) -> Fetched:
        failed = answer if isinstance(answer, Exception) else _first_error(answer)
        if failed is not None:
            if "NOGROUP" in str(failed):
                return Fetched(removed=True)
            raise failed
        assert isinstance(answer, list)
        _, streams, now_ms = answer
        self._time = int(now_ms), time.monotonic()
        # A map in RESP3, a list of pairs in RESP2.
        pairs = streams.items() if isinstance(streams, dict) else streams or ()
        found = [entry for _, entries in pairs for entry in entries]
        return Fetched(tuple(_entries(found)), int(now_ms))

    def begin(self, worker: str, lane: Lane, chunk: str) -> list[Entry] | None:
        interval = self._on(_begin, lane, lane.handler, chunk, worker)
        if interval is None:
            return None
        after, upto = (entry.decode() for entry in interval)
        return list(_entries(self.client.execute_many(
            [("XRANGE", self.keys.events(lane.domain), f"({after}", upto)]
        )[0]))  # fmt: skip

    def complete(self, worker: str, lane: Lane, chunk: str, completion: Completion) -> bool:
        keys, domain, handler = self.keys, lane.domain, lane.handler
        minute = self._now_ms() // 60_000
        named = (
            *self._keys(lane),
            keys.runs(domain, handler),
            keys.stats(domain, handler),
            keys.tally(domain, handler),
            *(keys.tally(domain, handler, minute + offset) for offset in (-1, 0, 1)),
        )
        told = (
            handler,
            chunk,
            worker,
            completion.until,
            completion.done,
            completion.mean_us,
            completion.record,
            pack_lists([[one.entry for one in completion.exceptions]])
            if completion.exceptions
            else b"",
            pack_lists((list(completion.counts), list(completion.counts.values()))),
            pack_lists((list(completion.tallies), list(completion.tallies.values()))),
        )
        if not completion.exceptions:
            return bool(unless_no_group(lambda: _complete.on_keys(self.client, named, *told)))
        owner, settled = f"running:{worker}", completion.exceptions
        finishing = self.ledger.finishing_command(owner, lane, settled, chunk)
        [answer] = self.client.transact_many([(_complete.of_keys(named, *told), finishing)])
        if isinstance(answer, list) and isinstance(answer[0], NoScriptError):
            [answer] = self.client.transact_many([(_complete.in_full(named, *told), finishing)])
        if isinstance(answer, Exception):
            answer = [answer]
        completed, *finished = answer
        if isinstance(completed, Exception):
            if "NOGROUP" in str(completed):
                return False
            raise completed
        if completed and any(isinstance(one, NoScriptError) for one in finished):
            # The exceptions are this worker's running deliveries already.
            self.ledger.finish(worker, lane, settled)
        elif failed := _first_error(finished):
            raise failed
        return bool(completed)

    def renew(self, worker: str, lane: Lane, chunks: Sequence[str]) -> list[str]:
        lost = self._on(_renew, lane, lane.handler, worker, *chunks) if chunks else []
        return [chunk.decode() for chunk in lost or ()]

    def requeue(self, worker: str, lane: Lane, chunk: str) -> int:
        return int(self._on(_requeue, lane, lane.handler, chunk, worker, pending=True) or 0)

    def reclaim(self, lane: Lane) -> int:
        lease_ms = self.ledger.lease_ms
        return int(self._on(_reclaim, lane, lane.handler, lease_ms, pending=True) or 0)

    def open_chunks(self, lane: Lane) -> list[OpenChunk]:
        key = self.keys.chunks(lane.domain, lane.handler)
        return parse_chunks(self.client.hgetall(key))

    def runs(self, lane: Lane, entries: Sequence[str]) -> list[Run | None]:
        found: dict[str, Run] = {}
        key = self.keys.runs(lane.domain, lane.handler)
        left = sorted(set(entries), key=entry_key)
        while left:
            wanted = set(left)
            records = self.client.zrangebyscore(
                key, entry_time_ms(left[0]), "+inf", start=0, num=RECORDS
            )
            reached = (-1, -1)
            for record in records:
                header, _, frames = record.partition(b"\n")
                reached = max(reached, entry_key(header.decode().split(" ")[1]))
                for run in parse_runs(frames):
                    known = found.get(run.entry)
                    if run.entry in wanted and (known is None or known.at_ms <= run.at_ms):
                        found[run.entry] = run
            if len(records) < RECORDS:
                break
            before = len(left)
            left = [entry for entry in left if entry_key(entry) > reached]
            if len(left) == before:
                break
        return [found.get(entry) for entry in entries]

    def _keys(self, lane: Lane) -> tuple[str, str]:
        return self.keys.events(lane.domain), self.keys.chunks(lane.domain, lane.handler)

    def _on(self, script: Script, lane: Lane, *args: Any, pending: bool = False) -> Any:
        """The script's answer; None where the handler has no group any more."""
        keys: tuple[str, ...] = self._keys(lane)
        if pending:
            keys += (self.keys.due(lane.domain, lane.handler), self.keys.bell(lane.domain))
        return unless_no_group(lambda: script.on_keys(self.client, keys, *args))

    def _now_ms(self) -> int:
        """The server's time."""
        if self._time is None:
            self._time = server_time_ms(self.client), time.monotonic()
        at_ms, since = self._time
        return at_ms + int((time.monotonic() - since) * 1000)


def _entries(found: Any) -> Iterator[Entry]:
    if isinstance(found, Exception):
        raise found
    for entry, fields in found:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        yield Entry(entry.decode(), named.get(b"event"))


def _first_error(answers: Sequence[Any]) -> Exception | None:
    return next((answer for answer in answers if isinstance(answer, Exception)), None)
