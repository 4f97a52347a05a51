"""Complete and renew deliveries that a client has. The attempt decides whether it still has them.

The gateway that fetched a delivery may be another one: the owner is read from the delivery store.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.delivery import (
    Claimed,
    ClaimResult,
    Completion,
    DeliveryState,
    Group,
    Outcome,
    Pending,
)
from celeriac.delivery.pending_reply import PendingReply, ReceivedReply
from celeriac.event import NONE_EMITTED, decode, read_header
from celeriac.executor.circuit_reporter import CircuitReporter
from celeriac.executor.work import Work
from celeriac.pull.pull_state import PullState
from celeriac.pull.reference import Reference
from celeriac.pull.refusal import LeaseLost
from celeriac.pull.result import AttemptResult

logger = logging.getLogger(__name__)

_RUNNING = "running:"
# The states of a row after each outcome: a completion that is repeated after a lost reply.
_AFTER = {
    "processed": {DeliveryState.PROCESSED},
    "skipped": {DeliveryState.SKIPPED},
    "failed": {DeliveryState.SCHEDULED, DeliveryState.DEAD},
    "dead": {DeliveryState.DEAD},
}
_STATES = {
    Outcome.PROCESSED: DeliveryState.PROCESSED,
    Outcome.SKIPPED: DeliveryState.SKIPPED,
    Outcome.RETRY: DeliveryState.SCHEDULED,
    Outcome.DEAD: DeliveryState.DEAD,
    Outcome.REFUSED: DeliveryState.DEAD,
}


@dataclass(frozen=True, slots=True)
class Completed:
    """The state of a delivery after its attempt. `retry_in` is in seconds, for a scheduled one."""

    state: DeliveryState
    retry_in: float | None = None


def complete(state: PullState, result: AttemptResult) -> Completed:
    """Record the result of an attempt. Repeating it after a lost reply changes nothing.

    Raises LeaseLost if the attempt has ended otherwise, and redis.RedisError.
    """
    reference, backend = result.reference, state.context.service.backend
    group = group_of(state, reference)
    body = _body(state, reference)
    key = read_header(body, reference.domain).key
    pending = backend.deliveries.pending(group, reference.entry)
    if pending is None or not _is_running(pending, result.attempt):
        return _repeated(state, group, key, result)
    claim = Claimed(reference.entry, ClaimResult.RUN, result.attempt, body, pending.lost_runs)
    completions: list[Completion] = []
    work = _work(state, group, _worker(pending), completions)
    work.circuit_reporter = _circuit_reporter(state)
    if work.circuit_reporter is not None:
        work.circuit_reporter.note(result.error)
    event = decode(body)
    work.complete_run(claim, key, event, result.took_us, result.error, NONE_EMITTED)
    work.reporter.flush()
    if work.report.lost:
        return _repeated(state, group, key, result)
    if work.circuit_reporter is not None:
        work.circuit_reporter.flush()
    [completion] = completions
    retry_in = completion.delay_ms / 1000 if completion.outcome is Outcome.RETRY else None
    return Completed(_STATES[completion.outcome], retry_in)


def renew(state: PullState, reference: Reference, attempt: int) -> int:
    """Renew the lease; return its new end in ms by the server's clock.

    Raises LeaseLost, and redis.RedisError.
    """
    backend, group = state.context.service.backend, group_of(state, reference)
    pending = backend.deliveries.pending(group, reference.entry)
    if pending is None or not _is_running(pending, attempt):
        raise _lost(reference, attempt)
    now_ms = backend.registry.now_ms()
    if backend.deliveries.renew(_worker(pending), group, [(reference.entry, attempt)]):
        raise _lost(reference, attempt)
    return now_ms + state.lease_ms


def release(state: PullState, given: Sequence[tuple[Reference, int]]) -> None:
    """Requeue deliveries that no client received, without counting an attempt.

    Raises redis.RedisError; their leases then expire.
    """
    deliveries = state.context.service.backend.deliveries
    for reference, attempt in given:
        key = read_header(_body(state, reference), reference.domain).key
        requeued = Completion(reference.entry, key, attempt, Outcome.REQUEUED)
        deliveries.complete(state.context.worker, state.handler.group(reference.domain), [requeued])


def group_of(state: PullState, reference: Reference) -> Group:
    """Return the consumer group of a reference. Raises LeaseLost for a domain without one."""
    if reference.domain not in state.record.since:
        raise LeaseLost(
            f"{state.id} has no delivery {reference}: it does not subscribe to the domain "
            f"{reference.domain}",
            field="entry",
        )
    return state.handler.group(reference.domain)


def _body(state: PullState, reference: Reference) -> bytes:
    domain, entry = reference
    event_log = state.context.service.backend.event_log
    entries = event_log.read(domain, start=entry, end=entry, count=1)
    if not entries or entries[0].body is None:
        raise LeaseLost(
            f"{state.id} has no delivery {reference}: the event log has no such entry (any more)",
            field="entry",
        )
    return entries[0].body


def _is_running(pending: Pending, attempt: int) -> bool:
    return pending.owner.startswith(_RUNNING) and pending.attempts == attempt


def _worker(pending: Pending) -> str:
    return pending.owner.removeprefix(_RUNNING)


def _repeated(state: PullState, group: Group, key: str, result: AttemptResult) -> Completed:
    """Return the state if this result was recorded before. Raises LeaseLost."""
    [row] = state.context.service.backend.deliveries.rows(group, [key])
    reference = result.reference
    if (
        row is not None
        and (row.entry, row.attempt) == (reference.entry, result.attempt)
        and row.state in _AFTER[result.outcome]
    ):
        return Completed(row.state)
    raise _lost(reference, result.attempt)


def _lost(reference: Reference, attempt: int) -> LeaseLost:
    return LeaseLost(
        f"attempt {attempt} of {reference} has ended: its lease expired, or it was completed. "
        "Drop its result; another attempt decides"
    )


def _work(state: PullState, group: Group, worker: str, completions: list[Completion]) -> Work:
    process, deliveries = state.context.process, state.context.service.backend.deliveries

    def report(given: Sequence[Completion]) -> PendingReply[list[str]]:
        completions.extend(given)
        ran = [c.took_us for c in given if c.outcome is Outcome.PROCESSED and c.took_us]
        mean_us = process.note_run_times(state.handler, ran)
        return ReceivedReply(deliveries.complete(worker, group, given, mean_us))

    return process.work(state.handler, group.domain, {}, report)


def _circuit_reporter(state: PullState) -> CircuitReporter | None:
    breaker, circuits = state.handler.breaker, state.context.service.backend.circuits
    if breaker is None:
        return None
    return CircuitReporter(
        circuits.get(state.id),
        lambda calls, failures, reason: circuits.record(state.id, breaker, calls, failures, reason),
    )
