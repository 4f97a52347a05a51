"""The result of `MemoryBus.run_until_idle`: counts, dead letters and unfinished deliveries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from celeriac.delivery import DeadLetter, Outcome
from celeriac.errors import InvalidEvent
from celeriac.event import Event, decode, decode_data
from celeriac.executor import FailedAttempt, Report


@dataclass(slots=True, repr=False)
class RunResult:
    """What happened in `run_until_idle`.

    Attributes:
        processed: Deliveries whose handler succeeded.
        skipped: Deliveries that `when=`, `tenants=` or `share=` rejected, or whose handler raised
            `Skip`.
        retried: Failed attempts that were followed by another one.
        dead: Deliveries that became dead letters.
        crashed: Processes that died of `crash_before_ack`.
        failures: Each failed attempt with its exception.
    """

    processed: int = 0
    skipped: int = 0
    retried: int = 0
    dead: int = 0
    crashed: int = 0
    failures: list[FailedAttempt] = field(default_factory=list)

    def __repr__(self) -> str:
        """Return the counts and the errors; pytest shows it when an assertion on them fails."""
        counts = ("processed", "skipped", "retried", "dead", "crashed")
        shown = [f"{name}={getattr(self, name)}" for name in counts]
        errors = Counter(f"{type(f.error).__name__}: {f.error}" for f in self.failures)
        shown += [f"failures=[{', '.join(f'{n} x {text}' for text, n in errors.items())}]"]
        return f"RunResult({', '.join(shown if errors else shown[:-1])})"

    def add(self, report: Report) -> None:
        """Add the counts of one executed chunk."""
        self.processed += report.processed
        self.skipped += report.skipped
        retried = sum(failure.outcome is Outcome.RETRY for failure in report.failures)
        self.retried += retried
        self.dead += len(report.failures) - retried
        self.failures += report.failures


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter.

    Attributes:
        handler: The handler's id.
        event: The event; None if the entry held no valid event.
        attempts: Number of attempts.
        error: Text of the last error.
        exception: The exception of the last attempt; None if the handler did not run.
    """

    handler: str
    event: Event[Any] | None
    attempts: int
    error: str
    exception: BaseException | None = None

    @classmethod
    def of(cls, dead_letter: DeadLetter, exception: BaseException | None) -> Dead:
        """Return the dead letter with the exception of its last attempt."""
        try:
            event = decode_data(decode(dead_letter.event), Any)
        except InvalidEvent:
            event = None
        return cls(dead_letter.handler, event, dead_letter.attempts, dead_letter.error, exception)

    def __str__(self) -> str:
        event = f"{self.event.type} {self.event.id}" if self.event else "an invalid event"
        attempts = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"{self.handler}: {event}, after {attempts}: {self.error}"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A delivery that is not finished.

    Attributes:
        handler: The handler's id. Empty for an event that is emitted later.
        event: Type and id of the event.
        state: The delivery's state.
        due_in: Seconds until it runs; None if it is not scheduled.
    """

    handler: str
    event: str
    state: str
    due_in: float | None = None

    def __str__(self) -> str:
        due = "" if self.due_in is None else f" in {self.due_in:g} s"
        return f"{self.handler or 'not yet emitted'}: {self.event} is {self.state}{due}"


class NeverIdle(AssertionError):
    """Deliveries remained after `max_steps` steps, for example because handlers emit in a loop.

    Attributes:
        left: The unfinished deliveries.
    """

    def __init__(self, steps: int, unfinished: list[Unfinished]) -> None:
        self.unfinished = unfinished
        lines = "".join(f"\n  {delivery}" for delivery in unfinished[:20])
        more = f"\n  … and {len(unfinished) - 20} more" if len(unfinished) > 20 else ""
        super().__init__(
            f"Deliveries remain after {steps} steps. Do handlers emit in a loop? Raise the limit "
            f"with run_until_idle(max_steps=...). Unfinished:{lines}{more}"
        )
