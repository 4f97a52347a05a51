"""Combine what was read of a handler in each domain to its load. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from celeriac.circuit_breaker import Circuit, CircuitState
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.scale.ahead import Ahead
from celeriac.scale.load import HandlerLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLoad:
    """The load of one handler in one domain. The names are those of HandlerLoad."""

    handler: str
    ahead: Ahead = field(default_factory=Ahead)
    queued: int = 0
    running: int = 0
    blocked: int = 0
    due: int = 0
    later: int = 0
    mean_us: int = 0

    @property
    def deliveries(self) -> int:
        return self.ahead.wanted + self.queued + self.running + self.blocked + self.due


def handler_load(
    record: HandlerRecord,
    groups: Sequence[GroupLoad],
    *,
    circuit: Circuit,
    running: Sequence[WorkerRecord],
    until_ms: int,
) -> HandlerLoad:
    """Return the load of a handler from that of its groups.

    `running` are the running workers of the service, `until_ms` is the end of the cooldown.
    """
    return HandlerLoad(
        handler=record.id,
        ahead=sum(group.ahead.wanted for group in groups),
        is_estimate=any(group.ahead.is_estimate for group in groups),
        is_unknown=any(group.ahead.is_unknown for group in groups),
        queued=sum(group.queued for group in groups),
        running=sum(group.running for group in groups),
        blocked=sum(group.blocked for group in groups),
        due=sum(group.due for group in groups),
        later=sum(group.later for group in groups),
        mean_us=_mean_us(groups),
        concurrency=record.concurrency,
        per_second=record.per_second,
        is_in_code=not running or any(_has_code(worker, record.id) for worker in running),
        is_paused=not circuit.allows_runs and _starts_after(circuit, until_ms),
        is_on_trial=circuit.state in (CircuitState.OPEN, CircuitState.HALF_OPEN),
    )


def _has_code(worker: WorkerRecord, handler: str) -> bool:
    return handler in worker.handlers or handler in worker.unserved


def _starts_after(circuit: Circuit, until_ms: int) -> bool:
    return circuit.until_ms is None or circuit.until_ms > until_ms


def _mean_us(groups: Sequence[GroupLoad]) -> int:
    """Return the mean run time of the backlog; a group without one gets that of the others."""
    measured = [group for group in groups if group.mean_us]
    if not measured:
        return 0
    usual = round(sum(group.mean_us for group in measured) / len(measured))
    deliveries = sum(group.deliveries for group in groups)
    if not deliveries:
        return usual
    total = sum(group.deliveries * (group.mean_us or usual) for group in groups)
    return max(1, round(total / deliveries))
