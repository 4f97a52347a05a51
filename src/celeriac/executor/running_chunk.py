"""One chunk under way in this process: which of its entries run, and what is reported of them.

An entry that cannot be decided upon within a chunk becomes a pending delivery, which the dispatcher
looks at by itself.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis

from celeriac.delivery import Claimed, Completion, Group, Verdict
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress, ChunkRequest, Fetched
from celeriac.delivery.repetition import Repetitions
from celeriac.event import Event, EventHeader, decode_unchecked
from celeriac.event_log import Entry
from celeriac.executor.chunk_filter import ChunkFilter
from celeriac.executor.completion import Uncounted, Unreported
from celeriac.executor.copies import find_copies
from celeriac.executor.process import ExecutorProcess
from celeriac.executor.report import Report
from celeriac.executor.work import TELL_AFTER
from celeriac.handler import Handler

logger = logging.getLogger(__name__)

# Seconds until what was reported is counted too, which costs the server as much as two reports. A
# process that dies leaves no more than that uncounted.
COUNT_AFTER = 0.1

# An event that runs; else what becomes of the entry, None for nothing that is recorded.
Read = Event[Any] | Completion | None


class RunningChunk:
    """`lost` once another worker may have it: nothing more is run or reported then.

    `sure_at` is a monotonic time at which the lease had not begun yet. `others` is that of
    ChunkFilter; `ambiguous` says that entries of any kind may repeat earlier ones. `wanted` counts
    the entries that the handler wanted, of those that were looked at."""

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
        # Places of the first entry that was not decided upon, and of the first not reported.
        self._next = self._reported = 0
        self._unreported, self._uncounted = Unreported(), Uncounted()
        self._mean_us = 0
        self._report_at = time.monotonic() + TELL_AFTER
        self._count_at = time.monotonic() + COUNT_AFTER
        # Waits for the answer to the last report.
        self._answer: Callable[[], None] | None = None
        self._sources: dict[str, str] = {}
        self._filter = ChunkFilter(handler, group.domain, others=others)
        self._work = process.work(handler, group.domain, {}, lambda settled: list)
        self._work.report = report
        if handler.signed:
            self._filter.find_repetitions(entries, self._find_copies)
        elif ambiguous:
            find = process.service.backend.chunks.repetitions
            self._filter.find_repetitions(
                entries, lambda some: process.persist(lambda: find(group.domain, some))
            )
        process.at_hand.begin_chunk(chunk)

    def _find_copies(self, looked: Sequence[tuple[Entry, str]]) -> Repetitions:
        bodies = [(entry.id, entry.body) for entry, _ in looked]
        copies = find_copies(self.process, self.group, self._work.admission, bodies)
        # The other entry may still be refused: the claim of the copy finds out.
        return Repetitions(possible=copies)

    def wants_several(self) -> bool:
        """Whether more than one entry is to be run."""
        return sum(isinstance(self._filter.look(one), EventHeader) for one in self.entries) > 1

    def run(self, longest: float) -> bool:
        """Run the entries in their order. False where the chunk was lost, and where it took so many
        seconds and there is more to run."""
        ends_at = time.monotonic() + longest
        try:
            if self.handler.batch is None:
                return self._run_events(ends_at)
            return self._run_batches(self.handler.batch, ends_at)
        finally:
            self._report.pairs += self.wanted
            self.process.sources.add(self.group.domain, self._sources)

    def _run_events(self, ends_at: float) -> bool:
        entries, count = self.entries, len(self.entries)
        call, enter, look_at = self._work.call, self.process.at_hand.enter, -math.inf
        while self._next < count:
            entry = entries[self._next]
            found = self._read(entry)
            if type(found) is Event:
                started = time.monotonic()
                if started >= look_at:
                    if not self._goes_on(started, ends_at):
                        return False
                    look_at = min(self._look_at, self._sure_until, ends_at)
                    # A report may wait for Redis, which is not this event's run time.
                    started = time.monotonic()
                enter(count - self._next, count - self._next - 1)
                error, emitted_events = call(found, found, 1, (entry.body,))
                took_us = int((time.monotonic() - started) * 1e6)
                if error is None and not emitted_events:
                    self._unreported.of_type(found.type).add(entry.id, took_us)
                    self._report.processed += 1
                else:
                    self._work.settle_run(_claim(entry), "", found, took_us, error, emitted_events)
                    self._note([(entry, None)])
            elif isinstance(found, Completion):
                self._unreported.add(found, entry)
            self._next += 1
        return not self.lost

    def _run_batches(self, size: int, ends_at: float) -> bool:
        count = len(self.entries)
        while self._next < count:
            read: list[tuple[Entry, Read]] = []
            events: list[Event[Any]] = []
            first = last = self._next
            for place in range(self._next, count):
                found = self._read(self.entries[place])
                read.append((self.entries[place], found))
                if type(found) is Event:
                    first = first if events else place
                    last = place
                    events.append(found)
                    if len(events) == size:
                        break
            if events:
                if not self._goes_on(time.monotonic(), ends_at):
                    return False
                self.process.at_hand.enter(count - first, count - last - 1)
                self._run_batch(read, events)
            else:
                self._note(read)
            self._next += len(read)
        return not self.lost

    def _run_batch(self, read: Sequence[tuple[Entry, Read]], events: list[Event[Any]]) -> None:
        started = time.monotonic()
        bodies = [entry.body for entry, one in read if type(one) is Event]
        error, emitted_events = self._work.call(events, events[0], 1, bodies)
        share = int((time.monotonic() - started) * 1e6) // len(events)
        if error is not None or emitted_events:
            ready = [(_claim(entry), "", one) for entry, one in read if type(one) is Event]
            self._work.settle_batch(ready, share, error, emitted_events)
            self._note(read)
            return
        for entry, found in read:
            if type(found) is Event:
                self._unreported.of_type(found.type).add(entry.id, share)
            elif isinstance(found, Completion):
                self._unreported.add(found, entry)
        self._report.processed += len(events)

    def _read(self, entry: Entry) -> Read:
        body = entry.body or b""
        event = decode_unchecked(body)
        if event is not None and self._filter.takes(entry, event.type):
            self._sources[event.source] = entry.id
            ready = self._work.admit(_claim(entry), event)
        else:
            found = self._filter.look(entry)
            if not isinstance(found, EventHeader):
                return found
            self._sources[found.source] = entry.id
            ready = self._work.read(_claim(entry), "")
        self.wanted += 1
        if ready is None:
            [settled] = self._work.take_settled()
            return settled
        return ready

    def _note(self, read: Sequence[tuple[Entry, Read]]) -> None:
        """Note what became of entries, where the executor settled some of them just now."""
        settled = {one.entry: one for one in self._work.take_settled()}
        for entry, found in read:
            became = settled.get(entry.id, found)
            if isinstance(became, Completion):
                self._unreported.add(became, entry)

    def _goes_on(self, now: float, ends_at: float) -> bool:
        """Report what is due, and make sure that the lease lasts: a process that was frozen past it
        runs nothing more."""
        if self._answer is not None:
            self._await_answer()
            now = time.monotonic()
        if now >= self._report_at:
            if now >= self._count_at or self._unreported.exceptions:
                self._report_all()
            else:
                self._report_progress()
            self._report_at = time.monotonic() + TELL_AFTER
        if now >= self._sure_until:
            self._await_answer()
        if now >= self._sure_until and not self.lost:
            self._renew(now)
        return not self.lost and now < ends_at

    @property
    def _look_at(self) -> float:
        """When there is something to do before the next event runs."""
        return self._report_at if self._answer is None else -math.inf

    @property
    def _sure_until(self) -> float:
        return self._sure_at + self.process.settings.lease

    def _renew(self, now: float) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        if self.process.persist(lambda: chunks.renew(worker, self.group, [self.id])):
            self._lose(len(self.entries) - self._reported)
        self._sure_at = now

    def complete(self, request: ChunkRequest | None) -> Fetched | None:
        """Report the rest, and fetch what is requested; None where nothing was fetched."""
        completion = self._completion()
        if completion is None:
            return None
        if request is None:
            self._complete(completion)
            return None
        return self._complete_and_fetch(completion, request)

    def give_back(self) -> None:
        """Report what was decided upon; the rest becomes pending and due at once."""
        self._report_all()
        left = len(self.entries) - self._next
        self._report.pairs += left
        if left and not self.lost:
            self._requeue(self.id)

    def _report_all(self) -> None:
        completion = self._completion()
        if completion is not None:
            self._complete(completion)

    def _report_progress(self) -> None:
        """Report what ran, without an exception among it. One event runs while the answer is under
        way."""
        done, worker = self._next - self._reported, self.process.worker
        if done and not self.lost:
            unreported, now_ms = self._take_unreported()
            until = self.entries[self._next - 1].id
            self._begin_progress(unreported.progress(until, done, worker, now_ms))

    def _begin_progress(self, progress: ChunkProgress) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        sure_at, sent = time.monotonic(), list[Callable[[], bool]]()

        def begin() -> Callable[[], bool]:
            return chunks.begin_progress(worker, self.group, self.id, progress)

        with suppress(redis.RedisError):
            sent.append(begin())

        def answer() -> None:
            # What could not be sent, or had no answer, is sent again.
            held = self.process.persist_result(lambda: (sent.pop() if sent else begin())())
            self._note_held(held, sure_at, progress.done)

        self._answer = answer

    def _await_answer(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer()

    def _completion(self) -> ChunkCompletion | None:
        """What to report, which is reported no more; None where there is nothing."""
        self._await_answer()
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
        """What was not reported, and the server's time."""
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
        held = self.process.persist_result(
            lambda: chunks.complete(worker, self.group, self.id, completion)
        )
        self._note_held(held, sure_at, completion.done)

    def _complete_and_fetch(
        self, completion: ChunkCompletion, request: ChunkRequest
    ) -> Fetched | None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        sure_at = time.monotonic()
        self.process.at_hand.expect_chunk(request.chunk)
        try:
            held, fetched = chunks.complete_and_fetch(
                worker, self.group, self.id, completion, request
            )
        except redis.RedisError:
            self._complete(completion)
            # What it was given, if it was, would wait for the end of its lease.
            self._requeue(request.chunk)
            return None
        self._note_held(held, sure_at, completion.done)
        return fetched

    def _requeue(self, chunk: str) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        self.process.persist(lambda: chunks.requeue(worker, self.group, chunk))

    def _note_held(self, held: bool, sure_at: float, reported: int) -> None:
        if held:
            self._sure_at = sure_at
        else:
            self._lose(reported)

    def _lose(self, entries: int) -> None:
        self.lost = True
        last = self.entries[max(self._reported - 1, 0)].id
        self._report.lost.append(last)
        logger.warning(
            "%s: chunk %s was no longer held when %d of its entries up to %s were reported; "
            "another worker runs them",
            self.handler.id,
            self.id,
            entries,
            last,
        )


def _claim(entry: Entry) -> Claimed:
    return Claimed(entry.id, Verdict.RUN, 1, entry.body)
