"""Runs open chunks: one after the other while there is a backlog, within one Celery task."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress

import redis

from celeriac.delivery import Group
from celeriac.delivery.chunk_store import ChunkRequest, new_chunk_id
from celeriac.delivery.fetch_size import DRAIN, UNMEASURED, FetchSize
from celeriac.event_log import Entry
from celeriac.executor.process import ExecutorProcess
from celeriac.executor.report import Report
from celeriac.executor.running_chunk import RunningChunk
from celeriac.handler import Handler

# Seconds instead of DRAIN where the service has no other handler. A task costs the worker and the
# server some milliseconds.
LONE_DRAIN = 0.5
# A chunk holds about fetch_size.FETCH_TIME_US of work. One that takes so many seconds is of a
# handler that has become slow: the rest is given back, and runs one by one.
LONGEST_CHUNK = 1.0
# The same for a chunk that may be the first one of its handler: see fetch_size.UNMEASURED.
FIRST_CHUNK = 0.1
STILL_SLOW = 1.0  # seconds after that in which dispatchers see the new run time


class ChunkExecutor:
    """Runs the chunks of one service; shared by all threads of a process, and safe over forks."""

    def __init__(self, process: ExecutorProcess) -> None:
        self.process = process
        self._sizes: dict[Group, FetchSize] = {}
        self._slow_at: dict[str, float] = {}

    def execute(
        self,
        handler: Handler,
        domain: str,
        chunk: str,
        entries: Sequence[Entry] | None = None,
        *,
        more: int = 0,
    ) -> Report:
        """Run an open chunk of the handler's consumer group, and others while there is `more`:
        so many entries it may fetch at once.

        The chunk must be queued, and is begun; `entries` spare reading what is in it. Blocks until
        all is reported. Raises BusUnavailable where the store cannot be reached for a lease's
        time: other workers then get what was not reported.
        """
        group, report = handler.group(domain), Report()
        sure_at = time.monotonic()
        others = False  # whether other versions of the handler want more than this code
        if entries is not None:
            entries = entries if self._begin(group, chunk, read=False) is not None else ()
        elif entries := self._begin(group, chunk):
            # The dispatcher that queued it may be of another version.
            find = self.process.service.backend.deliveries.patterns
            others = _want_more(handler, self.process.persist(lambda: find(group)))
        size = self._sizes.setdefault(group, FetchSize(self.process.settings.max_chunk))
        ends_at = time.monotonic() + (
            DRAIN if len(self.process.service.handlers) > 1 else LONE_DRAIN
        )
        # The dispatcher looked at the first chunk.
        ambiguous = False
        held = [chunk]
        with self.process.leases.keeping_chunks(group, held):
            while entries:
                running = RunningChunk(
                    self.process,
                    handler,
                    group,
                    held[0],
                    entries,
                    report,
                    sure_at,
                    others=others,
                    ambiguous=ambiguous,
                )
                if not self._run(running, handler):
                    break
                size.note(len(entries), running.wanted, sum(len(e.body or b"") for e in entries))
                request = None
                if more and (left := ends_at - time.monotonic()) > 0:
                    mean_us = self.process.run_time_us(handler)
                    longest_us = int(min(left, DRAIN) * 1e6)
                    count = size.count(mean_us, handler.batch, longest_us=longest_us, few=more)
                    request = ChunkRequest(group, new_chunk_id(), count, running=True)
                sure_at = time.monotonic()
                fetched = running.complete(request)
                if request is None or fetched is None:
                    break
                held[:] = [request.chunk]
                ambiguous = fetched.is_ambiguous
                entries, more = fetched.entries, fetched.share(request.count)
                others = _want_more(handler, fetched.patterns)
        with suppress(redis.RedisError):  # noted with the next event of the source
            self.process.sources.flush(self.process.service.backend.deliveries)
        return report

    def _begin(self, group: Group, chunk: str, *, read: bool = True) -> Sequence[Entry] | None:
        """Its entries; None where it is not this process that runs it."""
        process, tries = self.process, 0
        chunks = process.service.backend.chunks

        def begin() -> list[Entry] | None:
            nonlocal tries
            tries += 1
            return chunks.begin(process.worker, group, chunk, read=read)

        entries = process.persist(begin)
        if (entries is None and tries > 1) or (read and entries == []):
            # The first try began it and its answer was lost, or its entries were deleted.
            self._requeue(group, chunk)
            return None
        return entries

    def _requeue(self, group: Group, chunk: str) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        self.process.persist(lambda: chunks.requeue(worker, group, chunk))

    def _run(self, running: RunningChunk, handler: Handler) -> bool:
        """Whether all of it ran; otherwise it was lost, or reported and given back."""
        slow_for = time.monotonic() - self._slow_at.get(handler.id, -math.inf)
        if slow_for < STILL_SLOW and running.wants_several():
            running.give_back()
            return False
        is_measured, began = self.process.run_time_us(handler) > 0, time.monotonic()
        is_first = not is_measured and len(running.entries) <= UNMEASURED
        try:
            ended = running.run(min(FIRST_CHUNK, LONGEST_CHUNK) if is_first else LONGEST_CHUNK)
        except BaseException:
            # The process is told to end: what is done must not run again, the rest runs elsewhere.
            running.give_back()
            raise
        if not ended and not running.lost:
            if time.monotonic() - began >= LONGEST_CHUNK:
                self._slow_at[handler.id] = time.monotonic()
            running.give_back()
        return ended


def _want_more(handler: Handler, in_force: Sequence[str]) -> bool:
    return not {*in_force} <= {*handler.patterns}
