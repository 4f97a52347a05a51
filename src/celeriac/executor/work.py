"""One chunk under way: each event decoded, run and decided upon, apart from its neighbours."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from celeriac.contract import read_data
from celeriac.delivery import (
    MAX_REQUEUE_DELAY_MS,
    REQUEUE_DELAY_MS,
    Claimed,
    Completion,
    Failure,
    Outcome,
    Verdict,
)
from celeriac.errors import Exhausted, InvalidEvent, Retry, Skip
from celeriac.event import (
    NONE_EMITTED,
    EmittedEvents,
    Event,
    HandlingContext,
    RawEvent,
    check_decoded,
    check_domain,
    decode,
    event_key,
    read_header,
)
from celeriac.event_log import entry_time_ms
from celeriac.executor.admission import Admission
from celeriac.executor.attempt_hooks import run_attempt
from celeriac.executor.breaking import Breaking
from celeriac.executor.call import call
from celeriac.executor.control_flow import is_control_flow, is_time_limit
from celeriac.executor.error_text import describe, from_their_code, trace
from celeriac.executor.report import FailedAttempt, Report
from celeriac.handler import Decision, Handler, decide
from celeriac.middleware import Attempt, Middleware

logger = logging.getLogger(__name__)

# Tells the ledger what is settled; what it returns waits for the entries that were no longer held.
Finish = Callable[[Sequence[Completion]], Callable[[], list[str]]]

TELL_AFTER = 0.010  # seconds


class Work:
    """One chunk under way: what is still held, what is settled but not told yet.

    What was told is not waited for while there is more to run: the answer is heard before the next
    is told, and at the end.
    """

    def __init__(
        self,
        worker: str,
        handler: Handler,
        pairs: int,
        held: dict[str, int],
        finish: Finish,
        admission: Admission,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.worker, self.handler = worker, handler
        self.middleware = middleware
        self.complete = finish
        self.admission = admission
        self.held = held
        self.report = Report(pairs=pairs)
        self.breaking: Breaking | None = None
        self.settled: list[Completion] = []
        self.told_at = time.monotonic()
        self._admitted: set[str] = set()  # keys of events that were not refused
        self._answer: Callable[[], list[str]] | None = None

    def run(self, claimed: Sequence[Claimed], keys: dict[str, str]) -> None:
        """Decodes and runs one event, or one batch of them. `keys` are the event keys by entry, ''
        where it is not known and the entry may be trusted to be what it is."""
        ready: list[tuple[Claimed, str, Event[Any]]] = []
        for one in claimed:
            key = keys[one.entry]
            event = self.read(one, key)
            if event is not None:
                ready.append((one, key, event))
        if not ready:
            return
        if self.handler.batch is None:
            self._run_one(*ready[0])
        else:
            self._run_batch(ready)
        if time.monotonic() - self.told_at >= TELL_AFTER:
            self._tell_ledger()

    def read(self, one: Claimed, key: str) -> Event[Any] | None:
        """The event, its data decoded; None where the delivery is settled without a run."""
        if one.verdict is Verdict.DUPLICATE or one.body is None:
            self._settle(one, key, Outcome.IGNORED)
            return None
        if one.verdict is Verdict.CONCURRENT:
            if key in self._admitted:
                self._settle(one, key, Outcome.IGNORED)
                return None
            # If the one that runs is refused, this may be the true event. Else it is a duplicate.
            self._settle(one, key, Outcome.REQUEUED, delay_ms=_concurrent_ms(one.entry))
            return None
        try:
            if one.verdict is Verdict.EXHAUSTED:
                raise Exhausted(_why_exhausted(one))
            event = decode(one.body)
            check_domain(event.type, self.admission.domain)
            if key and event_key(event.id, event.source) != key:
                # The hint is not from a dispatcher. Back with it, as if it had never been.
                self._settle(one, key, Outcome.REQUEUED)
                return None
            if not self.handler.matcher.matches(event.type):
                # Newer code of this handler wants it, and this is the older.
                self._settle(one, key, Outcome.REQUEUED, delay_ms=REQUEUE_DELAY_MS)
                return None
            return self._admitted_event(one, key, event)
        except Exception as error:
            self._refuse(one, key, error)
            return None

    def admit(self, one: Claimed, event: RawEvent) -> Event[Any] | None:
        """Return an event that the handler wants with its data decoded; None where the delivery is
        settled without a run. `event` is what `decode_unchecked` made of the body."""
        try:
            return self._admitted_event(one, "", check_decoded(event, one.body or b""))
        except Exception as error:
            self._refuse(one, "", error)
            return None

    def _admitted_event(self, one: Claimed, key: str, event: RawEvent) -> Event[Any] | None:
        event = self.admission.admit(self.handler, one.entry, one.body or b"", event)
        typed = read_data(event, self.handler.data_type)
        if key:
            self._admitted.add(key)
        if self.handler.when is not None and not self.handler.when(typed):
            self._settle(one, key, Outcome.SKIPPED, type=event.type)
            self.report.skipped += 1
            return None
        return typed

    def _refuse(self, one: Claimed, key: str, error: Exception) -> None:
        """Decide upon an attempt that failed before the handler was called."""
        is_refused = isinstance(error, InvalidEvent)
        self.fail(one, key, type_of(one.body), error, 0, refused=is_refused)

    def _run_one(self, one: Claimed, key: str, event: Event[Any]) -> None:
        started = time.perf_counter()
        error, emitted_events = self.call(event, event, one.attempt, (one.body,))
        self.settle_run(one, key, event, _us(started), error, emitted_events)

    def settle_run(
        self,
        one: Claimed,
        key: str,
        event: Event[Any],
        took: int,
        error: BaseException | None,
        emitted_events: EmittedEvents,
    ) -> None:
        """Decide upon a run of the handler that took so many µs, and failed with the error if there
        is one."""
        if isinstance(error, Skip):
            self._skip(one, key, event, took, emitted_events)
        elif error is not None:
            self.fail(one, key, event.type, error, took, event.correlationid, emitted_events)
        else:
            self._settle(
                one,
                key,
                Outcome.PROCESSED,
                took_us=took,
                type=event.type,
                emitted_events=emitted_events,
            )
            self.report.processed += 1

    def _run_batch(self, ready: Sequence[tuple[Claimed, str, Event[Any]]]) -> None:
        """A batch that fails fails for each of its events; each runs alone at its next attempt."""
        started = time.perf_counter()
        events = [event for _, _, event in ready]
        bodies = [one.body for one, _, _ in ready]
        error, emitted_events = self.call(events, events[0], ready[0][0].attempt, bodies)
        self.settle_batch(ready, _us(started) // len(ready), error, emitted_events)

    def settle_batch(
        self,
        ready: Sequence[tuple[Claimed, str, Event[Any]]],
        share: int,
        error: BaseException | None,
        emitted_events: EmittedEvents,
    ) -> None:
        """As `settle_run`, of events with their claims and keys, of which each took that share."""
        # the value of any of them may be in it
        shown = error and self.admission.shown(error, [one.body for one, _, _ in ready])
        for one, key, event in ready:
            if isinstance(error, Skip):
                self._skip(one, key, event, share, emitted_events)
            elif error is not None:
                self.fail(
                    one, key, event.type, error, share, event.correlationid, emitted_events, shown
                )
            else:
                self._settle(
                    one,
                    key,
                    Outcome.PROCESSED,
                    took_us=share,
                    type=event.type,
                    emitted_events=emitted_events,
                )
                self.report.processed += 1
            # what a batch emits follows from its first event
            emitted_events = NONE_EMITTED

    def _skip(
        self,
        one: Claimed,
        key: str,
        event: Event[Any],
        took: int,
        emitted_events: EmittedEvents,
    ) -> None:
        """Settle a delivery whose handler raised Skip."""
        self._settle(
            one,
            key,
            Outcome.SKIPPED,
            took_us=took,
            type=event.type,
            emitted_events=emitted_events,
        )
        self.report.skipped += 1

    def release(self, claimed: Sequence[Claimed], keys: dict[str, str]) -> None:
        """Gives back what was claimed and not begun: due at once, its attempt not counted."""
        for one in claimed:
            self._settle(one, keys[one.entry], Outcome.REQUEUED)

    def call(
        self,
        argument: Any,
        cause: Event[Any],
        attempt: int,
        bodies: Sequence[bytes | None],
    ) -> tuple[BaseException | None, EmittedEvents]:
        """Run the handler's function; return what it raised, and what it emitted.

        `bodies` are the events as the log has them.
        """
        failure: BaseException | None = None
        size = len(argument) if self.handler.batch is not None else 1
        with HandlingContext(cause, attempt, self.handler.id, size) as under_way:
            if self.middleware:
                failure = self._call_within(argument, cause, attempt, bodies)
            else:
                try:
                    call(self.handler, argument)
                except BaseException as error:
                    failure = self._failure(error)
        if self.breaking is not None:
            self.breaking.note(failure)
        return failure, under_way.emitted_events

    def _failure(self, error: BaseException) -> BaseException:
        """Return the error of a failed attempt, or raise it if it must end the task."""
        # A coroutine that something cancelled has failed; so has a native extension that panicked.
        if is_control_flow(error) or is_time_limit(error, self.handler.time_limit):
            raise error
        return from_their_code(error)

    def _call_within(
        self, argument: Any, cause: Event[Any], number: int, bodies: Sequence[bytes | None]
    ) -> BaseException | None:
        """Run the handler's function within the middleware."""
        is_batch = self.handler.batch is not None
        events = tuple(argument) if is_batch else (cause,)
        attempt = Attempt(self.handler.id, self.worker, number, events, is_batch)

        def fail(error: BaseException) -> BaseException:
            failure = self._failure(error)
            attempt.error = self.admission.shown(failure, bodies)
            attempt.outcome = decide(self.handler.failure, failure, number).outcome.value
            return failure

        skipped: list[Skip] = []

        def run() -> None:
            try:
                call(self.handler, argument)
            except Skip as skip:
                # Not a failure: the hooks of success follow.
                skipped.append(skip)
                attempt.outcome = Outcome.SKIPPED.value
            else:
                attempt.outcome = Outcome.PROCESSED.value

        failure = run_attempt(self.middleware, attempt, run, fail)
        return failure if failure is not None or not skipped else skipped[0]

    def fail(
        self,
        one: Claimed,
        key: str,
        event_type: str,
        error: BaseException,
        took_us: int,
        correlation: str | None = None,
        emitted_events: EmittedEvents = NONE_EMITTED,
        shown: BaseException | None = None,
        *,
        final: bool = True,
        refused: bool = False,
    ) -> None:
        """Decides upon a failed attempt; not `final` means that it is not given up for this one,
        `refused` that the handler was not given the event.

        `shown` is the error without sensitive values; by default without those of this event."""
        key = key or key_of(one.body)
        decision = decide(self.handler.failure, error, one.counted)
        if decision.outcome is Outcome.DEAD and not final:
            decision = Decision(Outcome.RETRY, REQUEUE_DELAY_MS)
        if isinstance(error, Exhausted):
            decision = Decision(Outcome.DEAD)
        counted = one.attempt - isinstance(error, Exhausted)
        error = shown or self.admission.shown(error, [one.body])
        text = trace(error)
        if self.breaking is not None:
            self.breaking.reason = describe(error)
        self._settle(
            one,
            key,
            Outcome.REFUSED if refused else decision.outcome,
            took_us=took_us,
            delay_ms=decision.delay_ms,
            failure=Failure(
                attempt=counted,
                at=int(time.time() * 1000),
                error=describe(error),
                took=took_us,
                worker=self.worker,
            ),
            traceback=text,
            type=event_type,
            emitted_events=emitted_events,
        )
        failed = FailedAttempt(key, event_type, counted, decision.outcome, error, text, correlation)
        self.report.failures.append(failed)
        self._tell(failed, decision)

    def _tell(self, failed: FailedAttempt, decision: Decision) -> None:
        """Once in the log: with its traceback if nothing follows but a person."""
        retried = decision.outcome is Outcome.RETRY
        level = logging.INFO if isinstance(failed.error, Retry) else logging.WARNING
        logger.log(
            level if retried else logging.ERROR,
            "%s failed on %s %s in attempt %d (%s): %s",
            self.handler.id,
            failed.event_type,
            failed.event_id,
            failed.attempt,
            f"retry in {decision.delay_ms / 1000:.3g} s" if retried else "dead",
            describe(failed.error),
            exc_info=None if retried else failed.error,
            extra={
                "event_type": failed.event_type,
                "event_id": failed.event_id,
                "handler": self.handler.id,
                "attempt": failed.attempt,
                "correlation_id": failed.correlation or failed.event_id,
            },
        )

    def _settle(
        self,
        one: Claimed,
        key: str,
        outcome: Outcome,
        *,
        took_us: int = 0,
        delay_ms: int = 0,
        failure: Failure | None = None,
        traceback: str = "",
        type: str = "",
        emitted_events: EmittedEvents = NONE_EMITTED,
    ) -> None:
        self.settled.append(
            Completion(
                one.entry,
                key,
                one.attempt,
                outcome,
                took_us,
                delay_ms,
                failure,
                traceback,
                type,
                emitted_events,
            )
        )

    def lose(self, entries: Sequence[str]) -> None:
        """These are held no longer: they are neither run nor told of."""
        for entry in entries:
            self.held.pop(entry, None)
        self.report.lost += entries
        if entries:
            logger.warning(
                "%s: the leases of %d deliveries ran out before they were begun; another worker "
                "runs them",
                self.handler.id,
                len(entries),
            )

    def take_settled(self) -> list[Completion]:
        """Return what is settled and not told yet; it is told no more."""
        settled, self.settled = self.settled, []
        return settled

    def flush(self) -> None:
        """Tells the ledger what is settled, and waits until it knows."""
        self._tell_ledger()
        self._hear()

    def _tell_ledger(self) -> None:
        self._hear()
        if not self.settled:
            return
        settled, self.settled = self.settled, []
        # From here on there is no lease to keep: either it is finished, or it was lost before.
        for one in settled:
            self.held.pop(one.entry, None)
        self._answer = self.complete(settled)
        self.told_at = time.monotonic()

    def _hear(self) -> None:
        if self._answer is None:
            return
        answer, self._answer = self._answer, None
        if lost := answer():
            # A second try after a lost answer also finds nothing to finish, and that is no loss.
            self.report.lost += lost
            logger.warning("%s: %d deliveries were no longer held", self.handler.id, len(lost))


def _us(started: float) -> int:
    return int((time.perf_counter() - started) * 1e6)


def _why_exhausted(one: Claimed) -> str:
    if one.lost_runs:
        return (
            f"its worker died, or lost the lease, in {one.lost_runs} of {one.attempt - 1} runs; "
            "given up as poison"
        )
    return f"all {one.attempt - 1} attempts are used up"


def _concurrent_ms(entry: str) -> int:
    """After which time to look again: half the age of the entry, from 1 s to 1 min."""
    age = int(time.time() * 1000) - entry_time_ms(entry)
    return max(REQUEUE_DELAY_MS, min(age // 2, MAX_REQUEUE_DELAY_MS))


def key_of(body: bytes | None) -> str:
    """The key of the event in `body`; '' where there is none to read."""
    try:
        return read_header(body).key if body else ""
    except InvalidEvent:
        return ""


def type_of(body: bytes | None) -> str:
    """The type of the event in `body`; '' where there is none to read."""
    try:
        return decode(body).type if body else ""
    except InvalidEvent:
        return ""
