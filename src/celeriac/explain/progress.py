"""Checks of an unfinished delivery, and of an event that is not emitted yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celeriac.circuit_breaker import Circuit, CircuitState
from celeriac.event import is_encrypted
from celeriac.event.encrypted import encrypted_for
from celeriac.explain.answer import Check, failed, passed, waiting
from celeriac.explain.command import resume, start_worker
from celeriac.explain.contract import contract_checks
from celeriac.explain.fact import Facts, Other
from celeriac.flow_control import FlowControl
from celeriac.handler.share import in_share, position, sharing_subject
from celeriac.registry import WorkerRecord
from celeriac.tenant import tenant_names
from celeriac.time_text import duration, when
from celeriac.tracking import DeliveryState
from celeriac.visible import listed


def readiness_checks(facts: Facts) -> Iterator[Check]:
    """Return the checks of a described event."""
    yield from _admission(facts)
    yield from _circuit(facts)
    yield from _worker(facts)
    if facts.record is not None and facts.record.pull is not None:
        yield passed("delivered", "the next client that fetches would get it")
        return
    queue = facts.record.queue if facts.record is not None else ""
    yield passed("delivered", f"would be delivered through the queue {queue}")


def progress_checks(facts: Facts, state: DeliveryState) -> Iterator[Check]:
    if state is not DeliveryState.RUNNING:
        yield from _admission(facts)
        yield from _circuit(facts)
    if facts.entry is None:
        yield _delayed(facts)
        return
    if state is DeliveryState.BLOCKED:
        yield _sequence(facts)
    if state is DeliveryState.SCHEDULED and not _is_due(facts):
        yield _scheduled(facts)
        yield from _worker(facts)
        return
    if state in (DeliveryState.WAITING, DeliveryState.SCHEDULED):
        yield from _concurrency(facts)
        yield from _rate(facts)
    if state is not DeliveryState.RUNNING:
        yield from _worker(facts)
    if state is DeliveryState.RUNNING:
        yield _running(facts)
    elif state is DeliveryState.QUEUED:
        yield _queued(facts)
    elif state is DeliveryState.SCHEDULED:
        yield _scheduled(facts)
    elif state is DeliveryState.WAITING:
        yield _behind(facts)


def _admission(facts: Facts) -> Iterator[Check]:
    record, event = facts.record, facts.event
    if record is None or event is None:
        return
    if record.options.get("signed"):
        if facts.signature not in (None, True):
            yield failed("signature", str(facts.signature), "sign it: set CELERIAC_SIGNING_KEY")
        elif event.signature is None and facts.signature is None and facts.emitted:
            text = "it is not signed, and the handler requires a signature (signed=True)"
            yield failed("signature", text, "sign it: set CELERIAC_SIGNING_KEY of the producer")
        else:
            yield passed("signature", "the handler requires a signature; its worker verifies it")
    if is_encrypted(event):
        if facts.key not in (None, True):
            yield failed("key", str(facts.key), "set CELERIAC_ENCRYPTION_KEY of the service")
        else:
            yield passed("key", encrypted_for(event))
    yield from contract_checks(facts)
    yield from tenant_checks(facts)
    yield from share_checks(facts)
    if record.options.get("when"):
        if facts.when is True:
            yield passed("when", "when= accepts it")
        elif facts.when is False:
            yield failed("when", "when= rejects it", f"change when= of {record.id}")
        elif facts.when is not None:
            yield failed("when", facts.when, f"change when= of {record.id}")
        else:
            yield passed("when", "has a when=, which its worker runs; -A APP runs it here")


def tenant_checks(facts: Facts) -> Iterator[Check]:
    """Check whether the handler gets events of the tenant."""
    text = facts.record.options.get("tenants") if facts.record is not None else None
    if not text or facts.event is None:
        return
    tenants, tenant = tenant_names(text), facts.event.tenant
    if tenant in tenants:
        yield passed("tenant", f"tenant {tenant} is among {listed(tenants)} (tenants=)")
        return
    if tenant is None:
        text = f"it has no tenant, and the handler gets those of {listed(tenants)} (tenants=)"
    else:
        text = f"tenant {tenant} is not among {listed(tenants)} (tenants=)"
    yield failed("tenant", text, f"change tenants= of {facts.handler}")


def share_checks(facts: Facts) -> Iterator[Check]:
    """Check whether the subject is in the handler's share of subjects."""
    text = facts.record.options.get("share") if facts.record is not None else None
    if not text or facts.event is None:
        return
    subject = sharing_subject(facts.event)
    at = f"{subject} is at {position(subject):.4f} of share={text}"
    if in_share(subject, float(text)):
        yield passed("share", at)
    else:
        yield failed("share", f"outside: {at}", f"raise share= of {facts.handler}")


def _circuit(facts: Facts) -> Iterator[Check]:
    circuit = facts.circuit
    if circuit is None or circuit.state is CircuitState.CLOSED:
        yield passed("paused", "not paused")
        return
    yield waiting("paused", _circuit_text(circuit, facts.now_ms), resume(facts.handler))


def _circuit_text(circuit: Circuit, now_ms: int) -> str:
    if circuit.state is CircuitState.HALF_OPEN:
        by = f" by {circuit.trial}" if circuit.trial else ""
        text = f"its circuit breaker is half-open and runs one trial event{by}"
    elif circuit.state is CircuitState.OPEN:
        text = "paused by its circuit breaker (open)"
    else:
        text = "paused manually"
    if circuit.since_ms is not None:
        text += f" since {when(circuit.since_ms)}"
    if circuit.until_ms is not None:
        text += f", until {when(circuit.until_ms, now_ms=now_ms)}"
    return f"{text}: {circuit.reason}" if circuit.reason else text


def _sequence(facts: Facts) -> Check:
    flow_control = facts.record.flow_control if facts.record is not None else None
    if flow_control is not None and not flow_control.ordered:
        return _key(facts, flow_control)
    if not facts.earlier:
        return waiting("sequence", "blocked by an event of its sequence that has just completed")
    first = facts.earlier[0]
    of = f" of {first.subject}" if first.subject else ""
    text = f"waits for {_named(first)}{of} in its sequence (ordered=True), {_state(first, facts)}"
    if facts.earlier_count > 1:
        text += f"; {facts.earlier_count} are before it"
    remedy = f"celeriac explain {first.event_id} {facts.handler}" if first.event_id else ""
    return waiting("sequence", text, remedy)


def _key(facts: Facts, flow_control: FlowControl) -> Check:
    limits = {
        f"concurrency=PerKey({flow_control.concurrency})": flow_control.concurrency,
        f"rate_limit=PerKey('{flow_control.per_second}/s')": flow_control.per_second,
        "fair=True": flow_control.fair,
        "debounce=": flow_control.quiet_ms,
    }
    named = ", ".join(option for option, given in limits.items() if given)
    text = f"waits for its key, {flow_control.key} ({named})"
    remedy = ""
    if facts.earlier:
        first = facts.earlier[0]
        text += f"; {facts.earlier_count} are before it, the first {_state(first, facts)}"
        remedy = f"celeriac explain {first.event_id} {facts.handler}" if first.event_id else ""
    return waiting("per_key", text, remedy)


def _concurrency(facts: Facts) -> Iterator[Check]:
    limit = facts.concurrency
    if limit is None:
        return
    text = f"{facts.in_flight} of concurrency={limit} in flight"
    if facts.in_flight < limit:
        yield passed("concurrency", text)
        return
    if facts.occupying:
        first = facts.occupying[0]
        text += f": {_named(first)}, {_state(first, facts)}"
        if len(facts.occupying) > 1:
            text += f", and {len(facts.occupying) - 1} more"
    yield waiting("concurrency", text, f"raise concurrency= of {facts.handler}")


def _rate(facts: Facts) -> Iterator[Check]:
    rate = facts.record.options.get("rate") if facts.record is not None else None
    if rate is None:
        return
    if facts.rate_wait_ms <= 0:
        yield passed("rate", f"within rate_limit={rate}")
        return
    wait = duration(facts.rate_wait_ms / 1000)
    text = f"rate_limit={rate} is reached; the next delivery in {wait}"
    yield waiting("rate", text, f"raise rate_limit= of {facts.handler}")


def _worker(facts: Facts) -> Iterator[Check]:
    record = facts.record
    if record is None:
        return
    # A dispatcher without a pool has no processes.
    living = [worker for worker in facts.workers if worker.processes]
    serving = [worker for worker in living if record.id in worker.handlers]
    if record.pull is not None:
        yield _client(record.id, serving)
        return
    if serving:
        named = serving[0].name if len(serving) == 1 else f"{len(serving)} workers"
        yield passed("worker", f"served by {named}, on the queue {record.queue}")
        return
    if not living:
        text = f"no running worker of {record.service}"
        yield waiting("worker", text, "start a worker: celery -A MODULE worker")
        return
    consumed = sorted({queue for worker in living for queue in worker.queues})
    if record.queue in consumed:
        text = f"no running worker of {record.service} has {record.id} in its code"
        remedy = f"deploy it again, or: celeriac handlers remove {record.id}"
        yield waiting("worker", text, remedy)
        return
    text = f"no worker consumes the queue {record.queue}; consumed: {listed(consumed) or 'none'}"
    yield waiting("worker", text, start_worker(record.queue))


def _client(handler: str, gateways: Sequence[WorkerRecord]) -> Check:
    """Check that a client fetches the deliveries of a pull handler."""
    if gateways:
        return passed("worker", f"a client fetches it, through {listed(g.name for g in gateways)}")
    text = "no client has fetched it in the last 30 s"
    return waiting("worker", text, f"start a client: POST /v1/handlers/{handler}/fetch")


def _queued(facts: Facts) -> Check:
    worker, until = _holder(facts)
    living = any(known.name == worker for known in facts.workers)
    if worker and not living:
        text = f"queued by {worker}, which has stopped; another worker reclaims it {until}"
        return waiting("lease", text)
    return waiting("lease", f"queued by {worker}, lease until {until}")


def _running(facts: Facts) -> Check:
    worker, until = _holder(facts)
    if facts.record is not None and facts.record.pull is not None:
        # A client may have it, whether the gateway runs or not.
        text = (
            f"a client runs attempt {max(1, facts.attempts)}, fetched through {worker}; lease "
            f"until {until}"
        )
    elif any(known.name == worker for known in facts.workers):
        text = f"attempt {max(1, facts.attempts)} runs on {worker}, lease until {until}"
    else:
        text = (
            f"attempt {max(1, facts.attempts)} ran on {worker}, which has stopped; runs again "
            f"{until}"
        )
    return waiting("lease", text)


def _holder(facts: Facts) -> tuple[str, str]:
    """Return the worker that has the delivery, and when its lease ends."""
    if facts.pending is not None:
        worker = facts.pending.owner.partition(":")[2]
        since_ms = facts.now_ms - facts.pending.held_ms
    elif facts.chunk is not None:
        worker, since_ms = facts.chunk.worker, facts.chunk.renewed_ms
    else:
        return "", ""
    return worker, when(since_ms + facts.lease_ms, now_ms=facts.now_ms)


def _is_due(facts: Facts) -> bool:
    due = facts.pending.due_ms if facts.pending is not None else None
    return due is None or due <= facts.now_ms


def _scheduled(facts: Facts) -> Check:
    due = facts.pending.due_ms if facts.pending is not None else None
    at = when(due, now_ms=facts.now_ms) if due is not None else "now"
    restart = facts.history.restarts[-1] if facts.history.restarts else None
    failure = facts.history.failures[-1] if facts.history.failures else None
    if failure is not None and (restart is None or failure.life >= restart.life):
        why = f"after attempt {failure.attempt}: {failure.error}"
    elif restart is not None:
        why = "after a redrive"
    else:
        why = "requeued"
    if _is_due(facts):
        is_pulled = facts.record is not None and facts.record.pull is not None
        runs = (
            "the next client that fetches gets it" if is_pulled else "the next free process runs it"
        )
        return waiting("scheduled", f"due since {at}, {why}; {runs}")
    return waiting("scheduled", f"scheduled at {at}, {why}")


def _delayed(facts: Facts) -> Check:
    at = when(facts.time_ms, now_ms=facts.now_ms)
    return waiting("delayed", f"is appended to the log at {at} (delay= or at=)")


def _behind(facts: Facts) -> Check:
    group = facts.info
    if group is None:
        text = f"no worker has created its group in {facts.domain} yet"
        return waiting("fetched", text)
    lag = f"; {group.lag:,} not fetched yet" if group.lag is not None else ""
    if group.last_delivered == "0-0":
        return waiting("fetched", f"in the log, nothing of {facts.domain} fetched yet{lag}")
    text = f"in the log; {facts.domain} is fetched up to entry {group.last_delivered}{lag}"
    return waiting("fetched", text)


def _named(other: Other) -> str:
    return other.event_id or f"entry {other.entry}"


def _state(other: Other, facts: Facts) -> str:
    if other.state is None:
        return "which has just completed"
    text = f"which is {other.state}"
    if other.worker:
        text += f" on {other.worker}"
    if other.due_ms is not None:
        text += f" until {when(other.due_ms, now_ms=facts.now_ms)}"
    if other.error:
        text += f" after attempt {other.attempts}: {other.error}"
    return text
