"""One chunk under way in this process: which of its entries run, and what is reported of them.

An entry that cannot be decided upon within a chunk becomes a pending delivery, which the dispatcher
looks at by itself.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import redis

from celeriac.executor.completion import ChunkRun, complete_run, filter_entries
from celeriac.executor.process import ExecutorProcess
from celeriac.executor.report import Report
from celeriac.ledger import Lane, Outcome, Settled
from celeriac.ledger.chunk_store import Completion, Fetched, FetchRequest
from celeriac.log import Entry
from celeriac.subscription import Handler

logger = logging.getLogger(__name__)

# Plainly processed events need no key. The others get theirs when they are reported.
NO_KEYS: dict[str, str] = defaultdict(str)


class RunningChunk:
    """`lost` once another worker may have it: nothing more is run or reported then.

    `sure_at` is a monotonic time at which the lease had not begun yet."""

    def __init__(
        self,
        process: ExecutorProcess,
        handler: Handler,
        group: Lane,
        chunk: str,
        entries: Sequence[Entry],
        report: Report,
        sure_at: float,
        *,
        others: bool = False,
        ambiguous: bool = False,
    ) -> None:
        self.process, self.handler, self.group = process, handler, group
        self.lost = False
        self._sure_at = sure_at
        found = filter_entries(handler, group.domain, entries, others=others, ambiguous=ambiguous)
        if found.doubtful:
            find = process.service.backend.chunks.repetitions
            found.pass_over(process.persist(lambda: find(group.domain, found.doubtful)))
        process.sources.add(group.domain, found.sources)
        self._claims, self._next = found.claims, 0
        self._places = {entry.id: n for n, entry in enumerate(entries)}
        self._run = ChunkRun(chunk, entries, found.passed)
        self._work = process.work(handler, group.domain, {}, self._settle)
        self._work.report = report
        report.hinted += len(found.claims)
        process.at_hand.begin_chunk(chunk)

    @property
    def wanted(self) -> int:
        """How many entries are still to be run."""
        return len(self._claims) - self._next

    def run_next(self) -> bool:
        """Run the next entry, or batch; False where there is none left, or the chunk was lost."""
        some = self._claims[self._next : self._next + (self.handler.batch or 1)]
        if self.lost or not some or not self._is_held():
            return False
        end = len(self._places)
        first, last = self._places[some[0].entry], self._places[some[-1].entry]
        self.process.at_hand.enter(end - first, end - last - 1)
        self._work.run(some, NO_KEYS)
        self._next += len(some)
        return not self.lost

    def finish(self, request: FetchRequest | None) -> Fetched | None:
        """Report the rest, and fetch what is requested; None where nothing was fetched."""
        completion = self._completion(self._work.take_settled())
        if completion is None or self.lost:
            return None
        if request is None:
            self._complete(completion)
            return None
        return self._complete_and_fetch(completion, request)

    def give_back(self) -> None:
        """Report what was decided upon; the rest becomes pending and due at once."""
        self._work.flush()
        if self._run.left and not self.lost:
            self._requeue(self._run.id)

    def _is_held(self) -> bool:
        """Whether the lease surely lasts: a process that was frozen past it runs nothing more."""
        now = time.monotonic()
        if now - self._sure_at < self.process.settings.lease:
            return True
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        if self.process.persist(lambda: chunks.renew(worker, self.group, [self._run.id])):
            self._lose(self._run.left)
        self._sure_at = now
        return not self.lost

    def _settle(self, settled: Sequence[Settled]) -> Callable[[], list[str]]:
        """Report progress, as `Work` asks for every work.TELL_AFTER, and at the end."""
        completion = self._completion(settled)
        if completion is not None and not self.lost:
            self._complete(completion)
        return list

    def _completion(self, settled: Sequence[Settled]) -> Completion | None:
        ran = [one.took_us for one in settled if one.outcome is Outcome.PROCESSED]
        mean_us = self.process.note_run_times(self.handler, ran)
        self._run.settled |= {one.entry: one for one in settled}
        now_ms = self.process.service.backend.chunks.now_ms()
        return complete_run(self._run, self.process.worker, now_ms, mean_us)

    def _complete(self, completion: Completion) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        sure_at = time.monotonic()
        held = self.process.persist_result(
            lambda: chunks.complete(worker, self.group, self._run.id, completion)
        )
        self._note(held, sure_at, completion)

    def _complete_and_fetch(self, completion: Completion, request: FetchRequest) -> Fetched | None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        sure_at = time.monotonic()
        self.process.at_hand.expect_chunk(request.chunk)
        try:
            held, fetched = chunks.complete_and_fetch(
                worker, self.group, self._run.id, completion, request
            )
        except redis.RedisError:
            self._complete(completion)
            # What it was given, if it was, would wait for the end of its lease.
            self._requeue(request.chunk)
            return None
        self._note(held, sure_at, completion)
        return fetched

    def _requeue(self, chunk: str) -> None:
        chunks, worker = self.process.service.backend.chunks, self.process.worker
        self.process.persist(lambda: chunks.requeue(worker, self.group, chunk))

    def _note(self, held: bool, sure_at: float, completion: Completion) -> None:
        if held:
            self._sure_at = sure_at
        else:
            self._lose(completion.done)

    def _lose(self, entries: int) -> None:
        self.lost = True
        last = self._run.entries[min(self._run.at, len(self._run.entries)) - 1].id
        self._work.report.lost.append(last)
        logger.warning(
            "%s: chunk %s was no longer held when %d of its entries up to %s were reported; "
            "another worker runs them",
            self.handler.id,
            self._run.id,
            entries,
            last,
        )
