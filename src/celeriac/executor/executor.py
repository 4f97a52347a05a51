"""Execute a delivery task: claim its deliveries, decode, run, decide, complete.

A delivery task proves nothing: the claim decides what may run. Each event of the task is isolated
from the others. Completions are reported every REPORT_INTERVAL seconds (completion_reporter.py), so
that a process that dies repeats only those and its current event.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from msgspec.structs import replace

from celeriac.circuit_breaker import Circuit
from celeriac.delivery import Claimed, ClaimResult, Completion, Group, Outcome
from celeriac.delivery.pending_reply import PendingReply
from celeriac.event import type_in
from celeriac.event_log import entry_key
from celeriac.executor.chunk_executor import ChunkExecutor
from celeriac.executor.circuit_reporter import CircuitReporter
from celeriac.executor.error_text import describe
from celeriac.executor.persistent_report import PersistentReport
from celeriac.executor.process import ExecutorProcess
from celeriac.executor.report import Report
from celeriac.executor.run_limit import RunLimit
from celeriac.executor.signed_duplicates import claim_results, find_signed_duplicates
from celeriac.executor.work import Work
from celeriac.handler import Handler
from celeriac.service import Service

# A chunk was cut for `chunk_time`. If it takes longer than this many of them, and than this many
# seconds, the handler has become slow: the rest is requeued as separate deliveries.
LONGEST_CHUNKS, LONGEST_CHUNK = 10, 1.0
PAGE = 1000
STILL_SLOW = 1.0  # seconds after such a cut until dispatchers have the new run time


class Executor:
    """Executes tasks of one service; shared by all threads of a process, and safe over forks."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.process = ExecutorProcess(service)
        self.chunks = ChunkExecutor(self.process)
        self._cut_at: dict[str, float] = {}

    def execute(self, handler: Handler, domain: str, pairs: Sequence[tuple[str, str]]) -> Report:
        """Run the claimed ones of the (entry, event key) pairs. Blocks until all are completed.

        Raises BusUnavailable if the delivery store is unreachable for the duration of a lease:
        another worker then reclaims the deliveries when their leases expire.
        """
        group = handler.group(domain)
        reporter = self._circuit_reporter(handler)
        if reporter is not None and not reporter.circuit.allows_runs:
            # The deliveries stay queued; the dispatcher that fetched them requeues them.
            return Report(pairs=len(pairs))
        sure_at = time.monotonic()
        claimed = self.process.persist(lambda: self._claim(handler, group, pairs))
        keys = dict(pairs)
        leases = {c.entry: c.attempt for c in claimed}
        work = self._work(handler, group, len(pairs), leases)
        work.circuit_reporter = reporter
        if len(pairs) > 1:
            self.process.shared_progress.begin(handler.id, domain, pairs)
        with self.process.leases.keeping(group, work.reporter.leases):
            try:
                if handler.signed:
                    claimed = self._without_copies(work, group, claimed)
                if time.monotonic() - sure_at >= self.service.settings.lease:
                    # This process may have been frozen, and another may have run some of them.
                    claimed = self._still_owned(group, work, claimed)
                self._run(work, group, _slices(claimed, handler.batch), keys)
            finally:
                # Also if the process is ending: completed deliveries must not run again.
                work.reporter.flush()
        if reporter is not None:
            reporter.flush()
        return work.report

    def _run(
        self,
        work: Work,
        group: Group,
        slices: Sequence[Sequence[Claimed]],
        keys: dict[str, str],
    ) -> None:
        """Run slice by slice. Requeue the rest if the circuit opens, or if the handler became so
        slow that other handlers would wait too long for this process. This includes a process that
        was frozen past its lease: it runs no delivery that it lost."""
        limit = RunLimit(
            len(slices), lambda running: self._requeue_now(work, group, slices[running:], keys)
        )
        done, cut_at = 0, self._cut_at.get(work.handler.id, -math.inf)
        # Else the task was sent before the handler was known to be slow: it would block again.
        if len(slices) == 1 or time.monotonic() - cut_at >= STILL_SLOW:
            with self.process.leases.limiting(group, limit):
                done = self._run_slices(work, slices, keys, limit)
        if not limit.is_requeued:
            for rest in slices[done:]:
                work.requeue(rest, keys)

    def _run_slices(
        self,
        work: Work,
        slices: Sequence[Sequence[Claimed]],
        keys: dict[str, str],
        limit: RunLimit,
    ) -> int:
        """Run slices until the task must end; return their number."""
        started, handler = time.monotonic(), work.handler.id
        longest = max(LONGEST_CHUNK, LONGEST_CHUNKS * self.service.settings.chunk_time)
        index_of = {entry: n for n, entry in enumerate(keys)} if len(keys) > 1 else None
        for number, some in enumerate(slices, 1):
            limit.running = number
            if number > limit.end and limit.stops(number):
                return number - 1
            if index_of is not None:
                self.process.shared_progress.enter(
                    index_of[some[0].entry], index_of[some[-1].entry] + 1
                )
            work.run(some, keys)
            halted = work.circuit_reporter is not None and not work.circuit_reporter.allows_next()
            late = time.monotonic() - started > longest
            if late:
                self._cut_at[handler] = time.monotonic()
            if halted or late:
                return number
        return len(slices)

    def _requeue_now(
        self,
        work: Work,
        group: Group,
        slices: Sequence[Sequence[Claimed]],
        keys: dict[str, str],
    ) -> None:
        """Requeue deliveries that did not begin, without waiting for the event that runs."""
        claimed = [claim for some in slices for claim in some]
        requeued = [
            Completion(claim.entry, keys[claim.entry], claim.attempt, Outcome.REQUEUED)
            for claim in claimed
        ]
        self.service.backend.deliveries.complete(self.service.worker, group, requeued)
        for claim in claimed:
            work.reporter.leases.pop(claim.entry, None)

    def abandon(
        self,
        handler: Handler,
        domain: str,
        pairs: Sequence[tuple[str, str]],
        error: BaseException,
        pid: int | None = None,
    ) -> int:
        """Complete the deliveries of a dead process of this worker without waiting for the lease.

        Returns the number of attempts that failed with the process, each logged. Idempotent.

        The delivery that the process `pid` was running failed with `error`. Its other unfinished
        deliveries are requeued without counting an attempt. If several deliveries may have ended
        the process, none is dead-lettered for it: each runs again alone, whatever its retries.
        """
        group = handler.group(domain)
        running = self.process.shared_progress.of(pid, handler.id, domain, pairs)
        suspected = pairs[running.start : running.stop] if running else pairs
        suspects = {entry for entry, _ in suspected}
        unfinished = self._still_running(group, pairs)
        work = self._work(handler, group, len(pairs), {})
        keys = dict(pairs)
        for claim in unfinished:
            if claim.entry in suspects:
                claim = replace(claim, body=self._body(domain, claim.entry))
                final = len(suspects) == 1
                work.fail(claim, keys[claim.entry], type_in(claim.body), error, 0, final=final)
        work.requeue([claim for claim in unfinished if claim.entry not in suspects], keys)
        work.reporter.flush()
        reporter = self._circuit_reporter(handler) if unfinished else None
        if reporter is not None:
            reporter.note(error)
            reporter.reason = describe(error)
            reporter.flush()
        return len(work.report.failures)

    def _still_running(self, group: Group, pairs: Sequence[tuple[str, str]]) -> list[Claimed]:
        """Return the pairs that this worker is running, without bodies; in the order of the log."""
        deliveries, owner = self.service.backend.deliveries, f"running:{self.service.worker}"
        entries = {entry for entry, _ in pairs}
        first, last = (edge(entries, key=entry_key) for edge in (min, max))
        running: list[Claimed] = []
        while page := deliveries.pending_between(group, first, last, PAGE):
            running += [
                Claimed(pending.entry, ClaimResult.RUN, pending.attempts, None, pending.lost_runs)
                for pending in page
                if pending.entry in entries and pending.owner == owner
            ]
            first = f"({page[-1].entry}"
        return running

    def _circuit_reporter(self, handler: Handler) -> CircuitReporter | None:
        """Return None for a handler without a breaker, which costs no call."""
        breaker = handler.breaker
        if breaker is None:
            return None
        circuits = self.service.backend.circuits

        def report(calls: int, failures: int, reason: str) -> Circuit:
            return self.process.persist(
                lambda: circuits.record(handler.id, breaker, calls, failures, reason)
            )

        return CircuitReporter(self.process.persist(lambda: circuits.get(handler.id)), report)

    def _body(self, domain: str, entry: str) -> bytes | None:
        entries = self.service.backend.event_log.read(domain, start=entry, end=entry, count=1)
        return entries[0].body if entries else None

    def _claim(
        self, handler: Handler, group: Group, pairs: Sequence[tuple[str, str]]
    ) -> list[Claimed]:
        deliveries, worker = self.service.backend.deliveries, self.service.worker
        max_attempts = handler.failure.max_attempts
        return deliveries.claim(worker, group, pairs, max_attempts, verifies=handler.signed)

    def _without_copies(self, work: Work, group: Group, claimed: list[Claimed]) -> list[Claimed]:
        """Return the claims, with the results for entries that repeat a verified event."""
        bodies = [(claim.entry, claim.body) for claim in claimed if claim.result is ClaimResult.RUN]
        copies = find_signed_duplicates(self.process, group, work.admission, bodies)
        results = claim_results(self.process, group, copies)
        return [replace(claim, result=results.get(claim.entry, claim.result)) for claim in claimed]

    def _still_owned(self, group: Group, work: Work, claimed: list[Claimed]) -> list[Claimed]:
        """Renew the leases of a chunk; return the claims that no other worker has taken over."""
        deliveries, worker = self.service.backend.deliveries, self.service.worker
        leases = list(work.reporter.leases.items())
        work.reporter.lose(self.process.persist(lambda: deliveries.renew(worker, group, leases)))
        return [claim for claim in claimed if claim.entry in work.reporter.leases]

    def _work(self, handler: Handler, group: Group, pairs: int, leases: dict[str, int]) -> Work:
        def complete(completions: Sequence[Completion]) -> PendingReply[list[str]]:
            ran = [c.took_us for c in completions if c.outcome is Outcome.PROCESSED]
            mean_us = self.process.note_run_times(handler, ran)
            return self._begin_complete(group, completions, mean_us)

        report = Report(pairs=pairs)
        return self.process.work(handler, group.domain, leases, complete, report)

    def _begin_complete(
        self, group: Group, completions: Sequence[Completion], mean_us: int
    ) -> PendingReply[list[str]]:
        deliveries, worker = self.service.backend.deliveries, self.service.worker
        return PersistentReport(
            self.process, lambda: deliveries.begin_complete(worker, group, completions, mean_us)
        )


def _slices(claimed: Sequence[Claimed], batch: int | None) -> list[Sequence[Claimed]]:
    size = batch or 1
    return [claimed[i : i + size] for i in range(0, len(claimed), size)]
