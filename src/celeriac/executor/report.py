"""The results of a chunk, for Celery's result, for Flower and for the log."""

from __future__ import annotations

from dataclasses import dataclass, field

from celeriac.delivery import Outcome
from celeriac.event import key_id


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt that failed. `error` is the exception as it was raised."""

    event_key: str
    event_type: str
    attempt: int
    outcome: Outcome
    error: BaseException
    traceback: str
    correlation: str | None = None

    @property
    def event_id(self) -> str:
        return key_id(self.event_key)


@dataclass(slots=True)
class Report:
    pairs: int = 0
    processed: int = 0
    skipped: int = 0
    failures: list[FailedAttempt] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def sole_failure(self) -> FailedAttempt | None:
        """The failure if the chunk had one event: then the task itself fails."""
        return self.failures[0] if self.pairs == 1 and self.failures else None

    def __str__(self) -> str:
        retried = sum(f.outcome is Outcome.RETRY for f in self.failures)
        counts = {
            "processed": self.processed,
            "skipped": self.skipped,
            "retried": retried,
            "dead": len(self.failures) - retried,
            "lease lost": len(self.lost),
        }
        text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return text or "nothing to do: completed, scheduled or running elsewhere"
