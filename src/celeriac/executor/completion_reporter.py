"""Report completions of claimed deliveries to the delivery store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from celeriac.delivery import Completion
from celeriac.delivery.pending_reply import PendingReply
from celeriac.executor.report import Report

logger = logging.getLogger(__name__)

# Reports completions to the delivery store; the reply has the entries that were no longer owned.
ReportCompletions = Callable[[Sequence[Completion]], PendingReply[list[str]]]

REPORT_INTERVAL = 0.010  # seconds between reports


class CompletionReporter:
    """The completions of one Celery task that are not reported yet, and the leases of its entries.

    A report is sent without waiting for its reply while more events are to run. The reply is read
    before the next report, and at the end. Entries whose lease was lost are added to `report`.
    """

    def __init__(
        self, handler: str, leases: dict[str, int], send: ReportCompletions, report: Report
    ) -> None:
        self.leases = leases
        self._handler, self._send, self._report = handler, send, report
        self._completions: list[Completion] = []
        self._reported_at = time.monotonic()
        self._reply: PendingReply[list[str]] | None = None

    def add(self, completion: Completion) -> None:
        """Report the completion with the next report."""
        self._completions.append(completion)

    def drain(self) -> list[Completion]:
        """Return the completions that are not reported yet; they will not be reported here."""
        completions, self._completions = self._completions, []
        return completions

    def lose(self, entries: Sequence[str]) -> None:
        """Drop entries whose lease was lost: they are neither run nor reported."""
        for entry in entries:
            self.leases.pop(entry, None)
        self._report.lost += entries
        if entries:
            logger.warning(
                "%s: the leases of %d deliveries expired before they began; another worker runs "
                "them",
                self._handler,
                len(entries),
            )

    def report_if_due(self) -> None:
        """Report the completions if the last report was REPORT_INTERVAL ago. Blocks for the reply
        to the last report."""
        if time.monotonic() - self._reported_at >= REPORT_INTERVAL:
            self._report_completions()

    def flush(self) -> None:
        """Report all completions to the delivery store, and wait for the reply."""
        self._report_completions()
        self._await_reply()

    def _report_completions(self) -> None:
        self._await_reply()
        completions = self.drain()
        if not completions:
            return
        # No lease to keep from here on: the delivery is completed now, or it was lost before.
        for completion in completions:
            self.leases.pop(completion.entry, None)
        self._reply = self._send(completions)
        self._reported_at = time.monotonic()

    def _await_reply(self) -> None:
        if self._reply is None:
            return
        reply, self._reply = self._reply, None
        if lost := reply.result():
            # A retry after a lost reply also finds nothing to complete, which is not a loss.
            self._report.lost += lost
            logger.warning("%s: %d deliveries were no longer owned", self._handler, len(lost))
