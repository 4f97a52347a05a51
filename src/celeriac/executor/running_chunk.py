"""A chunk that runs in this process: which of its entries run, and what is reported about them.

An entry that cannot be decided within a chunk becomes a pending delivery, which the dispatcher
fetches separately.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from celeriac.delivery import Claimed, ClaimResult, Completion, Group
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress, ChunkRequest, Fetched
from celeriac.delivery.pending_reply import PendingReply, ReceivedReply
from celeriac.delivery.repetition import Repetitions
from celeriac.event import Event, EventHeader, decode_unchecked
from celeriac.event_log import Entry
from celeriac.executor.chunk_filter import ChunkFilter
from celeriac.executor.completion import Uncounted, Unreported
from celeriac.executor.completion_reporter import REPORT_INTERVAL
from celeriac.executor.persistent_report import PersistentReport
from celeriac.executor.process import ExecutorProcess
from celeriac.executor.report import Report
from celeriac.executor.run_limit import RunLimit
from celeriac.executor.signed_duplicates import find_signed_duplicates
from celeriac.handler import Handler

logger = logging.getLogger(__name__)

# Seconds until reported results are also counted, which costs the server as much as two reports. A
# process that dies leaves at most this time uncounted.
COUNT_AFTER = 0.1

# An event that runs; otherwise the completion of the entry, None if nothing is recorded.
EntryResult = Event[Any] | Completion | None


class SentProgress(NamedTuple):
    """A progress report of so many entries, sent after `sure_at`, whose reply is not read yet."""

    reply: PendingReply[bool]
    sure_at: float
    done: int


class RunningChunk:
    """One chunk. After it is `lost`, another worker may have it: nothing more is run or reported.

    `sure_at` is a monotonic time before the lease began. `others` is that of ChunkFilter.
    `ambiguous`: entries of any kind may repeat earlier ones. `wanted` counts the entries that the
    handler wanted so far.
    """

    def __init__(
        self,
        process: ExecutorProcess,
        handler: Handler,
        group: Group,
        chunk: str,
        entries: Sequence[Entry],
        report: Report,
        sure_at: float,
        *,
        others: bool = False,
        ambiguous: bool = False,
    ) -> None:
        self.process, self.handler, self.group, self.id = process, handler, group, chunk
        self.lost = False
        self.wanted = 0
        self.entries, self._sure_at, self._report = entries, sure_at, report
        # Indexes of the first undecided entry and of the first unreported one.
        self._next = self._reported = 0
        self._unreported, self._uncounted = Unreported(), Uncounted()
        self._limit = RunLimit(len(entries), self._requeue_after)
        self._mean_us = 0
        self._report_at = time.monotonic() + REPORT_INTERVAL
        self._count_at = time.monotonic() + COUNT_AFTER
        # Waits for the reply to the last report.
        self._progress: SentProgress | None = None
        self._sources: dict[str, str] = {}
        self._filter = ChunkFilter(handler, group.domain, others=others)
        self._work = process.work(
            handler, group.domain, {}, lambda completions: ReceivedReply([]), report
        )
        if handler.signed:
            self._filter.find_repetitions(entries, self._find_copies)
        elif ambiguous:
            find = process.service.backend.chunks.repetitions
            self._filter.find_repetitions(
                entries, lambda some: process.persist(lambda: find(group.domain, some))
            )
        process.shared_progress.begin_chunk(chunk)

    def _find_copies(self, inspected: Sequence[tuple[Entry, str]]) -> Repetitions:
        bodies = [(entry.id, entry.body) for entry, _ in inspected]
        copies = find_signed_duplicates(self.process, self.group, self._work.admission, bodies)
        # The other entry may still be refused: a separate claim of the copy decides.
        return Repetitions(possible=copies)

    def wants_several(self) -> bool:
        """Return whether more than one entry will run."""
        inspected = map(self._filter.inspect, self.entries)
        return sum(isinstance(result, EventHeader) for result in inspected) > 1

    def run(self, longest: float) -> bool:
        """Run the entries in order. Returns False if the chunk was lost, or if it or one of its
        events took long and more entries are to run. `longest` is in seconds."""
        ends_at = time.monotonic() + longest
        try:
            with self.process.leases.limiting(self.group, self._limit):
                if self.handler.batch is None:
                    return self._run_events(ends_at)
                return self._run_batches(self.handler.batch, ends_at)
        finally:
            self._report.pairs += self.wanted
            self.process.sources.add(self.group.domain, self._sources)

    def _run_events(self, ends_at: float) -> bool:
        entries, count = self.entries, len(self.entries)
        call, enter, check_at = self._work.call, self.process.shared_progress.enter, -math.inf
        limit = self._limit
        while self._next < count:
            limit.running = self._next + 1
            if self._next >= limit.end and limit.stops(self._next + 1):
                return False
            entry = entries[self._next]
            event = self._read(entry)
            if type(event) is Event:
                started = time.monotonic()
                if started >= check_at:
                    if not self._continues(started, ends_at):
                        return False
                    check_at = min(self._check_at, self._sure_until, ends_at)
                    # A report may wait for Redis, which is not this event's run time.
                    started = time.monotonic()
                remaining = limit.end - self._next
                enter(remaining, remaining - 1)
                error, emitted_events = call(event, event, 1, (entry.body,))
                took_us = int((time.monotonic() - started) * 1e6)
                if error is None and not emitted_events:
                    self._unreported.of_type(event.type).add(entry.id, took_us)
                    self._report.processed += 1
                else:
                    self._work.complete_run(
                        _claim(entry), "", event, took_us, error, emitted_events
                    )
                    self._note([(entry, None)])
            elif isinstance(event, Completion):
                self._unreported.add(event, entry)
            self._next += 1
        return not self.lost

    def _run_batches(self, size: int, ends_at: float) -> bool:
        count, limit = len(self.entries), self._limit
        while self._next < count:
            read: list[tuple[Entry, EntryResult]] = []
            events: list[Event[Any]] = []
            first = last = self._next
            for index in range(self._next, count):
                limit.running = index + 1
                if index >= limit.end and limit.stops(index + 1):
                    count = index
                    break
                result = self._read(self.entries[index])
                read.append((self.entries[index], result))
                if type(result) is Event:
                    first = first if events else index
                    last = index
                    events.append(result)
                    if len(events) == size:
                        break
            if events:
                if not self._continues(time.monotonic(), ends_at):
                    return False
                end = limit.end
                self.process.shared_progress.enter(end - first, end - last - 1)
                self._run_batch(read, events)
            else:
                self._note(read)
            self._next += len(read)
        return not self.lost and self._next == len(self.entries)

    def _run_batch(
        self, read: Sequence[tuple[Entry, EntryResult]], events: list[Event[Any]]
    ) -> None:
        started = time.monotonic()
        bodies = [entry.body for entry, result in read if type(result) is Event]
        error, emitted_events = self._work.call(events, events[0], 1, bodies)
        share = int((time.monotonic() - started) * 1e6) // len(events)
        if error is not None or emitted_events:
            ready = [(_claim(entry), "", event) for entry, event in read if type(event) is Event]
            self._work.complete_batch(ready, share, error, emitted_events)
            self._note(read)
            return
        for entry, result in read:
            if type(result) is Event:
                self._unreported.of_type(result.type).add(entry.id, share)
            elif isinstance(result, Completion):
                self._unreported.add(result, entry)
        self._report.processed += len(events)

    def _read(self, entry: Entry) -> EntryResult:
        body = entry.body or b""
        event = decode_unchecked(body)
        if event is not None and self._filter.accepts(entry, event.type):
            self._sources[event.source] = entry.id
            ready = self._work.admit(_claim(entry), event)
        else:
            header = self._filter.inspect(entry)
            if not isinstance(header, EventHeader):
                return header
            self._sources[header.source] = entry.id
            ready = self._work.read(_claim(entry), "")
        self.wanted += 1
        if ready is None:
            [completion] = self._work.reporter.drain()
            return completion
        return ready

    def _note(self, read: Sequence[tuple[Entry, EntryResult]]) -> None:
        """Add the completions of entries, including those that the executor has just made."""
        completions = {c.entry: c for c in self._work.reporter.drain()}
        for entry, result in read:
            completion = completions.get(entry.id, result)
            if isinstance(completion, Completion):
                self._unreported.add(completion, entry)

    def _continues(self, now: float, ends_at: float) -> bool:
        """Report if due, and ensure that the lease is valid: a process that was frozen past it runs
        nothing more. Returns False if the chunk must not continue."""
        if self._progress is not None:
            self._await_progress()
            now = time.monotonic()
        if now >= self._report_at:
            # After `ends_at` nothing follows that could count a progress report.
            must_count = now >= min(self._count_at, ends_at)
            if must_count or self._unreported.exceptions:
                self._report_all()
            else:
                self._report_progress()
            self._report_at = time.monotonic() + REPORT_INTERVAL
        if now >= self._sure_until:
            self._await_progress()
        if now >= self._sure_until and not self.lost:
            self._renew(now)
        return not self.lost and now < ends_at

    @property
    def _check_at(self) -> float:
        """The time at which something must be done before the next event runs."""
        return self._report_at if self._progress is None else -math.inf

    @property
    def _sure_until(self) -> float:
        return self._sure_at + self.process.settings.lease

    def _renew(self, now: float) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        if self.process.persist(lambda: chunks.renew(worker, self.group, [self.id])):
            self._lose(len(self.entries) - self._reported)
        self._sure_at = now

    def complete(self, request: ChunkRequest | None) -> Fetched | None:
        """Report the rest, and fetch what is requested; None if nothing was fetched."""
        completion = self._completion()
        if completion is None:
            return None
        if request is None:
            self._complete(completion)
            return None
        return self._complete_and_fetch(completion, request)

    def _requeue_after(self, running: int) -> None:
        """Requeue all entries after the first ones."""
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        last = self.entries[running - 1].id
        chunks.requeue(worker, self.group, self.id, after=last)
        self.process.shared_progress.shorten_chunk(len(self.entries) - running)

    def requeue_rest(self) -> None:
        """Report the decided entries; the others become pending and due at once."""
        # An exception may have interrupted the code that notes a result.
        self._unreported.drop({entry.id for entry in self.entries[self._next :]})
        self._report_all()
        remaining = len(self.entries) - self._next
        self._report.pairs += remaining
        if remaining and not self.lost:
            self.process.requeue_chunk(self.group, self.id)

    def _report_all(self) -> None:
        completion = self._completion()
        if completion is not None:
            self._complete(completion)

    def _report_progress(self) -> None:
        """Report entries that ran without an exception. One event runs before the reply is
        awaited."""
        done, worker = self._next - self._reported, self.process.worker
        if done and not self.lost:
            unreported, now_ms = self._take_unreported()
            until = self.entries[self._next - 1].id
            self._begin_progress(unreported.progress(until, done, worker, now_ms))

    def _begin_progress(self, progress: ChunkProgress) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        sure_at = time.monotonic()
        reply = PersistentReport(
            self.process, lambda: chunks.begin_progress(worker, self.group, self.id, progress)
        )
        self._progress = SentProgress(reply, sure_at, progress.done)

    def _await_progress(self) -> None:
        sent, self._progress = self._progress, None
        if sent is not None:
            self._note_ownership(sent.reply.result(), sent.sure_at, sent.done)

    def _completion(self) -> ChunkCompletion | None:
        """Return what to report, which then counts as reported; None if there is nothing."""
        self._await_progress()
        done, worker = self._next - self._reported, self.process.worker
        if done == 0 or self.lost:
            return None
        unreported, now_ms = self._take_unreported()
        uncounted, self._uncounted = self._uncounted, Uncounted()
        self._count_at = time.monotonic() + COUNT_AFTER
        until = self.entries[self._next - 1].id
        mean_us, self._mean_us = self._mean_us, 0
        return unreported.completion(until, done, worker, now_ms, mean_us, uncounted)

    def _take_unreported(self) -> tuple[Unreported, int]:
        """Return the unreported results and the server's time."""
        now_ms = self.process.persist_result(self.process.service.backend.chunks.now_ms)
        self._reported = self._next
        unreported, self._unreported = self._unreported, Unreported()
        self._uncounted.add(unreported, now_ms)
        self._mean_us = (
            self.process.note_run_times(self.handler, unreported.took_us) or self._mean_us
        )
        return unreported, now_ms

    def _complete(self, completion: ChunkCompletion) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        sure_at = time.monotonic()
        is_owner = self.process.persist_result(
            lambda: chunks.complete(worker, self.group, self.id, completion)
        )
        self._note_ownership(is_owner, sure_at, completion.done)

    def _complete_and_fetch(
        self, completion: ChunkCompletion, request: ChunkRequest
    ) -> Fetched | None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        sure_at = time.monotonic()
        self.process.shared_progress.expect_chunk(request.chunk)
        try:
            is_owner, fetched = chunks.complete_and_fetch(
                worker, self.group, self.id, completion, request
            )
        except redis.RedisError:
            self._complete(completion)
            # The requested chunk, if it was opened, would wait until its lease expires.
            self.process.requeue_chunk(self.group, request.chunk)
            return None
        self._note_ownership(is_owner, sure_at, completion.done)
        return fetched

    def _note_ownership(self, is_owner: bool, sure_at: float, reported: int) -> None:
        if is_owner:
            self._sure_at = sure_at
        else:
            self._lose(reported)

    def _lose(self, entries: int) -> None:
        self.lost = True
        last = self.entries[max(self._reported - 1, 0)].id
        self._report.lost.append(last)
        logger.warning(
            "%s: chunk %s was no longer owned when %d of its entries up to %s were reported; "
            "another worker runs them",
            self.handler.id,
            self.id,
            entries,
            last,
        )


def _claim(entry: Entry) -> Claimed:
    return Claimed(entry.id, ClaimResult.RUN, 1, entry.body)
