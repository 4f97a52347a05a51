"""The shared parts of the executors of one process: leases, run times and access to the store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from celeriac.delivery import Group
from celeriac.delivery.sources import Sources
from celeriac.executor.admission import Admission
from celeriac.executor.completion_reporter import CompletionReporter, ReportCompletions
from celeriac.executor.lease import LeaseKeeper
from celeriac.executor.report import Report
from celeriac.executor.shared_progress import SharedProgress
from celeriac.executor.work import Work
from celeriac.handler import Handler
from celeriac.service import Service
from celeriac.settings import Settings
from celeriac.store.redis.connection import persist

T = TypeVar("T")
MEANS = 5  # mean run times of recent reports
# Seconds for which results are kept while Redis accepts no writes. While it is unreachable, no
# other worker can claim the delivery, and a dropped result means a second run.
RESULT_KEPT = 3600.0
SURELY_SLOW_US = 500_000  # longer than any delay caused by the machine


class ExecutorProcess:
    """Belongs to one service; shared by all threads of a process, and safe over forks."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.leases = LeaseKeeper(service)
        self.shared_progress = SharedProgress()
        self.sources = Sources(time.monotonic)
        self._means_us: dict[str, deque[float]] = {}

    @property
    def settings(self) -> Settings:
        return self.service.settings

    @property
    def worker(self) -> str:
        return self.service.worker

    def work(
        self,
        handler: Handler,
        domain: str,
        leases: dict[str, int],
        report_completions: ReportCompletions,
        report: Report | None = None,
    ) -> Work:
        """Return a Work for events of the domain, which reports to `report_completions`. Its
        results are added to `report`, by default a new one."""
        admission = Admission(self.service.guard, domain, self.settings.sensitive_names)
        report = Report() if report is None else report
        reporter = CompletionReporter(handler.id, leases, report_completions, report)
        find, group = self.service.backend.deliveries.patterns, handler.group(domain)
        return Work(
            self.worker,
            handler,
            reporter,
            report,
            admission,
            self.service.middleware,
            in_force=lambda: self.persist(lambda: find(group)),
        )

    def persist(self, call: Callable[[], T], seconds: float | None = None) -> T:
        """Return the call's result; repeat the call while Redis is unreachable, by default for the
        duration of a lease. Raises BusUnavailable after that."""
        seconds = self.settings.lease if seconds is None else seconds
        return persist(call, url=self.settings.redis_url, seconds=seconds, wait_for_memory=True)

    def persist_result(self, call: Callable[[], T]) -> T:
        """`persist` for as long as results are kept."""
        return self.persist(call, max(RESULT_KEPT, self.settings.lease))

    def requeue_chunk(self, group: Group, chunk: str) -> None:
        """Make the rest of a chunk of this worker pending and due at once. Idempotent."""
        chunks, worker = self.service.backend.chunks, self.worker
        self.persist(lambda: chunks.requeue(worker, group, chunk))

    def note_run_times(self, handler: Handler, took_us: Sequence[int]) -> int:
        """Record run times, and return the handler's run time in this process in µs, at least 1.

        It is the median of the last means; 0 without any runs. If the machine delays one of
        a few events, their mean alone would make chunks so small that Celery's cost for each is
        most of the work. So a slightly slower handler is detected after a few reports, and a
        handler that takes SURELY_SLOW_US at once: others would wait for its next events.
        """
        if not took_us:
            return 0
        mean = typical_us(took_us)
        means = self._means_us.setdefault(handler.id, deque(maxlen=MEANS))
        if mean >= SURELY_SLOW_US:
            means.clear()
        means.append(mean)
        return self.run_time_us(handler)

    def run_time_us(self, handler: Handler) -> int:
        """Return the handler's run time without new runs; 0 if there were none."""
        means = self._means_us.get(handler.id)
        return max(1, round(sorted(means)[(len(means) - 1) // 2])) if means else 0


def typical_us(took_us: Sequence[int]) -> float:
    """Return the mean, or the longest run time if that is surely slow."""
    longest = max(took_us)
    return longest if longest >= SURELY_SLOW_US else sum(took_us) / len(took_us)
