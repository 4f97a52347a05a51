"""The executor: claim, decode, run, decide, finish. One call for each chunk that a hint names.

A hint proves nothing: what may run, the claim says. Each event of the chunk is isolated from its
neighbours, and finished ones are told to the ledger every work.TELL_AFTER, so that a process that
dies repeats no more than that and the event it was at.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import redis
from msgspec.structs import replace

from celeriac.circuit_breaker import Circuit
from celeriac.delivery import Claimed, Completion, Group, Outcome, Verdict
from celeriac.event_log import entry_key
from celeriac.executor.breaking import Breaking
from celeriac.executor.chunk_executor import ChunkExecutor
from celeriac.executor.copies import find_copies, verdicts_on
from celeriac.executor.error_text import describe
from celeriac.executor.process import ExecutorProcess
from celeriac.executor.report import Report
from celeriac.executor.work import Work, type_of
from celeriac.handler import Handler
from celeriac.service import Service

# A chunk that was cut for `chunk_time` and takes longer than so many of it, and than so many
# seconds, is of a handler that has become slow: the rest travels anew, one by one.
LONGEST_CHUNKS, LONGEST_CHUNK = 10, 1.0
PAGE = 1000
STILL_SLOW = 1.0  # seconds after such a cut, in which dispatchers see the new run time


class Executor:
    """Executes for one service; shared by all threads of a process, and safe over forks."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.process = ExecutorProcess(service)
        self.chunks = ChunkExecutor(self.process)
        self._cut_at: dict[str, float] = {}

    def execute(self, handler: Handler, domain: str, pairs: Sequence[tuple[str, str]]) -> Report:
        """Runs what the claim gives of (entry, event key) pairs. Blocks until all is finished.

        Raises BusUnavailable where the ledger cannot be reached for a lease's time: what was
        claimed is then taken again by another worker when its lease is over.
        """
        group = handler.group(domain)
        breaking = self._breaking(handler)
        if breaking is not None and not breaking.circuit.allows_runs:
            # Its events stay queued as they are; the dispatcher that holds them gives them back.
            return Report(pairs=len(pairs))
        sure_at = time.monotonic()
        claimed = self.process.persist(lambda: self._claim(handler, group, pairs))
        keys = dict(pairs)
        held = {c.entry: c.attempt for c in claimed}
        work = self._work(handler, group, len(pairs), held)
        work.breaking = breaking
        if len(pairs) > 1:
            self.process.at_hand.begin(handler.id, domain, pairs)
        with self.process.leases.keeping(group, work.held):
            try:
                if handler.signed:
                    claimed = self._without_copies(work, group, claimed)
                if time.monotonic() - sure_at >= self.service.settings.lease:
                    # Perhaps this process was frozen, and another has run some of it.
                    claimed = self._still_held(group, work, claimed)
                self._run(work, _slices(claimed, handler.batch), keys)
            finally:
                # Also where the process is told to end: what is done must not run again.
                work.flush()
        if breaking is not None:
            breaking.flush()
        return work.report

    def _run(self, work: Work, slices: Sequence[Sequence[Claimed]], keys: dict[str, str]) -> None:
        """Runs slice by slice, and gives the rest back where the circuit opens, or where the
        handler became so slow that others would wait too long for this process. That is also
        the way of a process that was frozen past its lease: it runs nothing that it lost."""
        started, handler = time.monotonic(), work.handler.id
        longest = max(LONGEST_CHUNK, LONGEST_CHUNKS * self.service.settings.chunk_time)
        if len(slices) > 1 and started - self._cut_at.get(handler, -math.inf) < STILL_SLOW:
            # It was sent before anybody knew; its first event would hold this process again.
            for rest in slices:
                work.release(rest, keys)
            return
        place = {entry: n for n, entry in enumerate(keys)} if len(keys) > 1 else None
        for done, some in enumerate(slices, 1):
            if place is not None:
                self.process.at_hand.enter(place[some[0].entry], place[some[-1].entry] + 1)
            work.run(some, keys)
            halted = work.breaking is not None and not work.breaking.goes_on()
            late = time.monotonic() - started > longest
            if late:
                self._cut_at[handler] = time.monotonic()
            if halted or late:
                for rest in slices[done:]:
                    work.release(rest, keys)
                return

    def abandon(
        self,
        handler: Handler,
        domain: str,
        pairs: Sequence[tuple[str, str]],
        error: BaseException,
        pid: int | None = None,
    ) -> int:
        """Settles what a process of this worker was running when it died, without waiting for the
        lease. Returns how many attempts failed with it, each logged. Idempotent.

        The delivery that the process `pid` was running failed with `error`. The others that it had
        not finished are due at once, with no attempt counted. Where several may be the culprit,
        none is given up for it: each runs again, alone, whatever its retries."""
        group = handler.group(domain)
        places = self.process.at_hand.of(pid, handler.id, domain, pairs)
        suspects = {entry for entry, _ in (pairs[places.start : places.stop] if places else pairs)}
        left = self._still_running(group, pairs)
        work = self._work(handler, group, len(pairs), {})
        keys = dict(pairs)
        for one in left:
            if one.entry in suspects:
                one = replace(one, body=self._body(domain, one.entry))
                final = len(suspects) == 1
                work.fail(one, keys[one.entry], type_of(one.body), error, 0, final=final)
        work.release([one for one in left if one.entry not in suspects], keys)
        work.flush()
        breaking = self._breaking(handler) if left else None
        if breaking is not None:
            breaking.note(error)
            breaking.reason = describe(error)
            breaking.flush()
        return len(work.report.failures)

    def _still_running(self, group: Group, pairs: Sequence[tuple[str, str]]) -> list[Claimed]:
        """What of it this worker holds, without the bodies; in the order of the log."""
        deliveries, owner = self.service.backend.deliveries, f"running:{self.service.worker}"
        asked = {entry for entry, _ in pairs}
        first, last = (edge(asked, key=entry_key) for edge in (min, max))
        found: list[Claimed] = []
        while some := deliveries.pending_between(group, first, last, PAGE):
            found += [
                Claimed(one.entry, Verdict.RUN, one.attempts, None, one.lost_runs)
                for one in some
                if one.entry in asked and one.owner == owner
            ]
            first = f"({some[-1].entry}"
        return found

    def _breaking(self, handler: Handler) -> Breaking | None:
        """None for a handler without a breaker, which is asked nothing."""
        breaker = handler.breaker
        if breaker is None:
            return None
        circuits = self.service.backend.circuits

        def tell(calls: int, failures: int, reason: str) -> Circuit:
            return self.process.persist(
                lambda: circuits.record(handler.id, breaker, calls, failures, reason)
            )

        return Breaking(self.process.persist(lambda: circuits.get(handler.id)), tell)

    def _body(self, domain: str, entry: str) -> bytes | None:
        entries = self.service.backend.event_log.read(domain, start=entry, end=entry, count=1)
        return entries[0].body if entries else None

    def _claim(
        self, handler: Handler, group: Group, pairs: Sequence[tuple[str, str]]
    ) -> list[Claimed]:
        deliveries, worker = self.service.backend.deliveries, self.service.worker
        most = handler.failure.max_attempts
        return deliveries.claim(worker, group, pairs, most, verifies=handler.signed)

    def _without_copies(self, work: Work, group: Group, claimed: list[Claimed]) -> list[Claimed]:
        """The same, with the verdicts on those that repeat the verified event of another entry."""
        bodies = [(one.entry, one.body) for one in claimed if one.verdict is Verdict.RUN]
        copies = find_copies(self.process, group, work.admission, bodies)
        verdicts = verdicts_on(self.process, group, copies)
        return [replace(one, verdict=verdicts.get(one.entry, one.verdict)) for one in claimed]

    def _still_held(self, group: Group, work: Work, claimed: list[Claimed]) -> list[Claimed]:
        """Renews the leases of a chunk; returns what no other worker has now."""
        deliveries, worker = self.service.backend.deliveries, self.service.worker
        held = list(work.held.items())
        work.lose(self.process.persist(lambda: deliveries.renew(worker, group, held)))
        return [one for one in claimed if one.entry in work.held]

    def _work(self, handler: Handler, group: Group, pairs: int, held: dict[str, int]) -> Work:
        def complete(settled: Sequence[Completion]) -> Callable[[], list[str]]:
            ran = [one.took_us for one in settled if one.outcome is Outcome.PROCESSED]
            mean = self.process.note_run_times(handler, ran)
            return self._told((self.service.worker, group, settled, mean))

        work = self.process.work(handler, group.domain, held, complete)
        work.report.pairs = pairs
        return work

    def _told(self, told: tuple[str, Group, Sequence[Completion], int]) -> Callable[[], list[str]]:
        """Begins to tell the ledger; what could not be sent, or had no answer, is told again when
        the answer is waited for."""
        deliveries = self.service.backend.deliveries
        tries: list[Callable[[], list[str]]] = []
        with suppress(redis.RedisError):
            tries.append(deliveries.begin_complete(*told))
        return lambda: self.process.persist_result(
            lambda: tries.pop()() if tries else deliveries.complete(*told)
        )


def _slices(claimed: Sequence[Claimed], batch: int | None) -> list[Sequence[Claimed]]:
    size = batch or 1
    return [claimed[i : i + size] for i in range(0, len(claimed), size)]
