"""Run open chunks within one Celery task, one after the other while there is a backlog."""

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
from celeriac.tenant import other_interests

# Seconds instead of DRAIN if the service has no other handler. A task costs the worker and the
# server a few milliseconds.
LONE_DRAIN = 0.5
# A chunk has about fetch_size.FETCH_TIME_US of work. If it takes this many seconds, its handler has
# become slow: the rest is requeued as separate deliveries.
LONGEST_CHUNK = 1.0
# The same for a chunk that may be the first one of its handler: see fetch_size.UNMEASURED.
FIRST_CHUNK = 0.1
STILL_SLOW = 1.0  # seconds after that until dispatchers have the new run time


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
        """Run an open chunk of the handler's consumer group, and others while there is `more`: the
        number of entries that it may fetch at once.

        The chunk must be queued, and is begun here; `entries` avoids reading its entries. Blocks
        until all are reported. Raises BusUnavailable if the store is unreachable for the duration
        of a lease: other workers then get the unreported entries.
        """
        group, report = handler.group(domain), Report()
        sure_at = time.monotonic()
        others = False  # whether other versions of the handler want more events than this code
        if entries is not None:
            entries = entries if self._begin(group, chunk, read=False) is not None else ()
        elif entries := self._begin(group, chunk):
            # The dispatcher that queued it may run another version.
            find = self.process.service.backend.deliveries.patterns
            others = _want_more(handler, self.process.persist(lambda: find(group)))
        size = self._sizes.setdefault(group, FetchSize(self.process.settings.max_chunk))
        ends_at = time.monotonic() + (
            DRAIN if len(self.process.service.handlers) > 1 else LONE_DRAIN
        )
        # The dispatcher checked the first chunk for repetitions.
        ambiguous = False
        leased = [chunk]
        with self.process.leases.keeping_chunks(group, leased):
            while entries:
                running = RunningChunk(
                    self.process,
                    handler,
                    group,
                    leased[0],
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
                if more and (remaining := ends_at - time.monotonic()) > 0:
                    mean_us = self.process.run_time_us(handler)
                    longest_us = int(min(remaining, DRAIN) * 1e6)
                    count = size.count(mean_us, handler.batch, longest_us=longest_us, few=more)
                    request = ChunkRequest(group, new_chunk_id(), count, running=True)
                sure_at = time.monotonic()
                fetched = running.complete(request)
                if request is None or fetched is None:
                    break
                leased[:] = [request.chunk]
                ambiguous = fetched.is_ambiguous
                entries, more = fetched.entries, fetched.share(request.count)
                others = _want_more(handler, fetched.patterns)
        with suppress(redis.RedisError):  # recorded with the next event of the source
            self.process.sources.flush(self.process.service.backend.deliveries)
        return report

    def _begin(self, group: Group, chunk: str, *, read: bool = True) -> Sequence[Entry] | None:
        """Begin the chunk and return its entries; None if this process must not run it."""
        process, tries = self.process, 0
        chunks = process.service.backend.chunks

        def begin() -> list[Entry] | None:
            nonlocal tries
            tries += 1
            return chunks.begin(process.worker, group, chunk, read=read)

        entries = process.persist(begin)
        if (entries is None and tries > 1) or (read and entries == []):
            # The first try began it and its reply was lost, or its entries were deleted.
            process.requeue_chunk(group, chunk)
            return None
        return entries

    def _run(self, running: RunningChunk, handler: Handler) -> bool:
        """Run a chunk; return False if it was lost, or if its rest was requeued."""
        slow_for = time.monotonic() - self._slow_at.get(handler.id, -math.inf)
        if slow_for < STILL_SLOW and running.wants_several():
            running.requeue_rest()
            return False
        is_measured, began = self.process.run_time_us(handler) > 0, time.monotonic()
        is_first = not is_measured and len(running.entries) <= UNMEASURED
        try:
            ended = running.run(min(FIRST_CHUNK, LONGEST_CHUNK) if is_first else LONGEST_CHUNK)
        except BaseException:
            # The process is ending: completed entries must not run again.
            running.requeue_rest()
            raise
        if running.lost:
            return False
        # Also if it ended: its last event may be the slow one. A batch may always take that long.
        is_late = time.monotonic() - began >= LONGEST_CHUNK
        if is_late and not (ended and handler.batch):
            self._slow_at[handler.id] = time.monotonic()
        if not ended:
            running.requeue_rest()
        return ended


def _want_more(handler: Handler, in_force: Sequence[str]) -> bool:
    return bool(other_interests(in_force, handler.interests))
