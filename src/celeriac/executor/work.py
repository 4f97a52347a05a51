"""Decode and run each event of a Celery task, and decide on its outcome apart from the others."""

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
    ClaimResult,
    Completion,
    Failure,
    Outcome,
)
from celeriac.errors import CircuitOpen, Exhausted, InvalidEvent, Skip, SubjectErased
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
    key_id,
    key_in,
    type_in,
)
from celeriac.event_log import entry_time_ms
from celeriac.executor.admission import Admission
from celeriac.executor.attempt_hooks import run_attempt
from celeriac.executor.call import call
from celeriac.executor.circuit_reporter import CircuitReporter
from celeriac.executor.completion_reporter import CompletionReporter
from celeriac.executor.control_flow import is_control_flow, is_time_limit
from celeriac.executor.error_text import describe, from_their_code, trace
from celeriac.executor.failed_attempt import decide_failed, log_failed, why_exhausted
from celeriac.executor.report import FailedAttempt, Report
from celeriac.handler import Handler, decide
from celeriac.middleware import Attempt, Middleware
from celeriac.tenant import is_excluded, is_for_other_code, other_interests

logger = logging.getLogger(__name__)


class Work:
    """The claimed deliveries of one Celery task. `reporter` reports their completions.

    `in_force` reads the patterns and tenants of all versions of the handler.
    """

    def __init__(
        self,
        worker: str,
        handler: Handler,
        reporter: CompletionReporter,
        report: Report,
        admission: Admission,
        middleware: Sequence[Middleware] = (),
        in_force: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.worker, self.handler = worker, handler
        self.middleware = middleware
        self.admission = admission
        self.report, self.reporter = report, reporter
        self.circuit_reporter: CircuitReporter | None = None
        self._admitted: set[str] = set()  # keys of events that were not refused
        self._in_force = in_force
        # Read once: the events are older, so a version that joins later gets only newer ones.
        self._others: frozenset[str] | None = None

    def run(self, claimed: Sequence[Claimed], keys: dict[str, str]) -> None:
        """Decode and run one event, or one batch of them.

        `keys` are the event keys by entry, '' if the key is unknown and the entry can be trusted.
        """
        ready: list[tuple[Claimed, str, Event[Any]]] = []
        for claim in claimed:
            key = keys[claim.entry]
            event = self.read(claim, key)
            if event is not None:
                ready.append((claim, key, event))
        if not ready:
            return
        if self.handler.batch is None:
            self._run_one(*ready[0])
        else:
            self._run_batch(ready)
        self.reporter.report_if_due()

    def read(self, claim: Claimed, key: str) -> Event[Any] | None:
        """Return the event with its data decoded; None if the delivery completed without a run."""
        if claim.result is ClaimResult.DUPLICATE or claim.body is None:
            self._complete(claim, key, Outcome.IGNORED)
            return None
        if claim.result is ClaimResult.CONCURRENT:
            if key in self._admitted:
                self._complete(claim, key, Outcome.IGNORED)
                return None
            # If the running entry is refused, this may be the genuine event; else a duplicate.
            self._complete(claim, key, Outcome.REQUEUED, delay_ms=_concurrent_ms(claim.entry))
            return None
        try:
            if claim.result is ClaimResult.EXHAUSTED:
                raise Exhausted(why_exhausted(claim))
            event = decode(claim.body)
            check_domain(event.type, self.admission.domain)
            if key and event_key(event.id, event.source) != key:
                # The task did not come from a dispatcher. Requeue the delivery as it was.
                self._complete(claim, key, Outcome.REQUEUED)
                return None
            if not self.handler.matcher.matches(event.type):
                # Newer code of this handler wants it; this code is older.
                self._complete(claim, key, Outcome.REQUEUED, delay_ms=REQUEUE_DELAY_MS)
                return None
            return self._admitted_event(claim, key, event)
        except SubjectErased as error:
            self._skip_erased(claim, key, error)
            return None
        except Exception as error:
            self._refuse(claim, key, error)
            return None

    def admit(self, claim: Claimed, event: RawEvent) -> Event[Any] | None:
        """Return an event that the handler wants, with its data decoded; None if the delivery
        completed without a run. `event` is the `decode_unchecked` of the body."""
        try:
            return self._admitted_event(claim, "", check_decoded(event, claim.body or b""))
        except SubjectErased as error:
            self._skip_erased(claim, "", error)
            return None
        except Exception as error:
            self._refuse(claim, "", error)
            return None

    def _admitted_event(self, claim: Claimed, key: str, event: RawEvent) -> Event[Any] | None:
        self.admission.verify(self.handler, claim.entry, claim.body or b"", event)
        if is_excluded(event.tenant, self.handler.tenants):
            # Before its data is read, which may be encrypted or have another form.
            if self._is_for_other_code(event.tenant):
                key = key or key_in(claim.body)
                self._complete(claim, key, Outcome.REQUEUED, delay_ms=REQUEUE_DELAY_MS)
            else:
                self._skip(claim, key, event.type)
            return None
        event = self.admission.decrypt(event)
        typed = read_data(event, self.handler.data_type)
        if key:
            self._admitted.add(key)
        if self.handler.when is not None and not self.handler.when(typed):
            self._skip(claim, key, event.type)
            return None
        return typed

    def _is_for_other_code(self, tenant: str | None) -> bool:
        """Return whether another version of the handler gets the events of the tenant."""
        if self._others is None:
            self._others = other_interests(self._in_force(), self.handler.interests)
        return is_for_other_code(tenant, self.handler.tenants, self._others)

    def _skip(self, claim: Claimed, key: str, type: str) -> None:
        """Complete a delivery that the filter of the handler rejects."""
        self._complete(claim, key, Outcome.SKIPPED, type=type)
        self.report.skipped += 1

    def _skip_erased(self, claim: Claimed, key: str, error: SubjectErased) -> None:
        """Complete a delivery whose data was erased: no attempt can read it again."""
        type, key = type_in(claim.body), key or key_in(claim.body)
        self._complete(claim, key, Outcome.SKIPPED, type=type)
        self.report.skipped += 1
        logger.info("%s skipped %s %s: %s", self.handler.id, type, key_id(key), error)

    def _refuse(self, claim: Claimed, key: str, error: Exception) -> None:
        """Decide on an attempt that failed before the handler was called."""
        is_refused = isinstance(error, InvalidEvent)
        self.fail(claim, key, type_in(claim.body), error, 0, refused=is_refused)

    def _run_one(self, claim: Claimed, key: str, event: Event[Any]) -> None:
        started = time.perf_counter()
        error, emitted_events = self.call(event, event, claim.attempt, (claim.body,))
        self.complete_run(claim, key, event, _us(started), error, emitted_events)

    def complete_run(
        self,
        claim: Claimed,
        key: str,
        event: Event[Any],
        took: int,
        error: BaseException | None,
        emitted_events: EmittedEvents,
        shown: BaseException | None = None,
    ) -> None:
        """Decide on a run of the handler that took this many µs, and failed if there is an error
        other than Skip. `shown` is that of `fail`."""
        if isinstance(error, CircuitOpen):
            delay_ms = decide(self.handler.failure, error, claim.counted).delay_ms
            self._complete(claim, key, Outcome.REQUEUED, delay_ms=delay_ms)
            return
        is_skipped = isinstance(error, Skip)
        if error is not None and not is_skipped:
            self.fail(
                claim, key, event.type, error, took, event.correlationid, emitted_events, shown
            )
            return
        self._complete(
            claim,
            key,
            Outcome.SKIPPED if is_skipped else Outcome.PROCESSED,
            took_us=took,
            type=event.type,
            emitted_events=emitted_events,
        )
        if is_skipped:
            self.report.skipped += 1
        else:
            self.report.processed += 1

    def _run_batch(self, ready: Sequence[tuple[Claimed, str, Event[Any]]]) -> None:
        """Run a batch. If it fails, each of its events failed; each runs alone next time."""
        started = time.perf_counter()
        events = [event for _, _, event in ready]
        bodies = [claim.body for claim, _, _ in ready]
        error, emitted_events = self.call(events, events[0], ready[0][0].attempt, bodies)
        self.complete_batch(ready, _us(started) // len(ready), error, emitted_events)

    def complete_batch(
        self,
        ready: Sequence[tuple[Claimed, str, Event[Any]]],
        share: int,
        error: BaseException | None,
        emitted_events: EmittedEvents,
    ) -> None:
        """`complete_run` for a batch of events with their claims and keys; each took `share` µs."""
        # The error may contain values of any of the events.
        shown = error and self.admission.shown(error, [claim.body for claim, _, _ in ready])
        for claim, key, event in ready:
            self.complete_run(claim, key, event, share, error, emitted_events, shown)
            # Emitted events belong to the first event of a batch.
            emitted_events = NONE_EMITTED

    def requeue(self, claimed: Sequence[Claimed], keys: dict[str, str]) -> None:
        """Requeue claimed deliveries that did not begin, without counting their attempt."""
        for claim in claimed:
            self._complete(claim, keys[claim.entry], Outcome.REQUEUED)

    def call(
        self,
        argument: Any,
        cause: Event[Any],
        attempt: int,
        bodies: Sequence[bytes | None],
    ) -> tuple[BaseException | None, EmittedEvents]:
        """Run the handler's function; return the exception that it raised, and what it emitted.

        `bodies` are the events as stored in the log.
        """
        failure: BaseException | None = None
        is_batch = self.handler.batch is not None
        size = len(argument) if is_batch else 1
        context = HandlingContext(cause, attempt, self.handler.id, size, is_batch=is_batch)
        with context as under_way:
            if self.middleware:
                failure = self._call_within(argument, cause, attempt, bodies)
            else:
                try:
                    call(self.handler, argument)
                except BaseException as error:
                    failure = self._failure(error)
        if self.circuit_reporter is not None:
            self.circuit_reporter.note(failure)
        return failure, under_way.emitted_events

    def _failure(self, error: BaseException) -> BaseException:
        """Return the error of a failed attempt, or raise it if it must end the task."""
        # A cancelled coroutine and a panic of a native extension are failures of the attempt.
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
        claim: Claimed,
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
        """Decide on a failed attempt.

        Args:
            shown: The error without sensitive values; by default without those of this event.
            final: Whether the delivery may be dead-lettered because of this attempt.
            refused: Whether the event was refused before the handler received it.
        """
        key = key or key_in(claim.body)
        decision = decide_failed(self.handler, claim, error, final)
        counted = claim.attempt - isinstance(error, Exhausted)
        error = shown or self.admission.shown(error, [claim.body])
        text = trace(error)
        if self.circuit_reporter is not None:
            self.circuit_reporter.reason = describe(error)
        self._complete(
            claim,
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
        log_failed(self.handler.id, failed, decision)

    def _complete(
        self,
        claim: Claimed,
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
        self.reporter.add(
            Completion(
                claim.entry,
                key,
                claim.attempt,
                outcome,
                took_us,
                delay_ms,
                failure,
                traceback,
                type,
                emitted_events,
            )
        )


def _us(started: float) -> int:
    return int((time.perf_counter() - started) * 1e6)


def _concurrent_ms(entry: str) -> int:
    """Return the delay until the next try: half the age of the entry, from 1 s to 1 min."""
    age = int(time.time() * 1000) - entry_time_ms(entry)
    return max(REQUEUE_DELAY_MS, min(age // 2, MAX_REQUEUE_DELAY_MS))
