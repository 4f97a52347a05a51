"""Check clocks, workers and consumer groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok, warn
from celeriac.cli.show import age, count
from celeriac.event_log import ClockStep
from celeriac.registry import WorkerRecord, is_alive
from celeriac.tracking import HandlerLag

MAX_SKEW_MS = 5000
STEP_NAMED_MS = 86_400_000
JOINED_WITHIN_S = 10.0


def check_clocks(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check the clocks of this host and of the workers against the server's."""
    off = {"this host": snapshot.clock_off_ms}
    off |= {w.name: w.clock_ms - w.beat_ms for w in snapshot.workers if _lives(snapshot, w)}
    wrong = {name: ms for name, ms in off.items() if abs(ms) > MAX_SKEW_MS}
    for name, ms in wrong.items():
        side = "ahead of" if ms > 0 else "behind"
        text = f"{name} is {age(abs(ms) / 1000)} {side} the server"
        yield warn("clock", text, "run NTP on that host: times of events and failures are wrong")
    if stepped := _latest_step(snapshot):
        ago = age((snapshot.now_ms - stepped.at_ms) / 1000)
        text = f"the server's clock was set back by {age(stepped.ms / 1000)}, {ago} ago"
        remedy = "run NTP on the server in slew mode; scheduled deliveries were shifted"
        yield warn("clock", text, remedy)
    elif not wrong:
        yield ok("clock", f"{count(len(off), 'clock')} within {age(MAX_SKEW_MS / 1000)}")


def _latest_step(snapshot: BusSnapshot) -> ClockStep | None:
    """Return the last backward step of the server's clock within a day."""
    steps = [s for s in snapshot.clock_steps.values() if snapshot.now_ms - s.at_ms < STEP_NAMED_MS]
    return max(steps, key=lambda step: step.at_ms, default=None)


def check_workers(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check that a running worker serves each service, queue and handler."""
    # A dispatcher without a pool has no processes.
    living = [w for w in snapshot.workers if _lives(snapshot, w) and w.processes]
    queues: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for record in snapshot.handlers.values():
        queues[record.service][record.id] = record.queue
    for worker in living:
        # Not registered if no worker has ever served it.
        queues[worker.service] |= worker.unserved
    for service, of_handler in sorted(queues.items()):
        if of_handler:
            running = [w for w in living if w.service == service]
            yield from _service(snapshot, service, of_handler, running)
    if not snapshot.handlers:
        remedy = "start a worker: celery -A MODULE worker"
        yield warn("worker", "no handler is registered: no worker has started yet", remedy)
    for worker in snapshot.workers:
        if not _lives(snapshot, worker):
            ago = age((snapshot.now_ms - worker.beat_ms) / 1000)
            text = f"{worker.name} stopped without deregistering, last heartbeat {ago} ago"
            remedy = "no action is needed if it was killed: other workers reclaim its deliveries"
            yield warn("worker", text, remedy)


def _service(
    snapshot: BusSnapshot, service: str, queues: dict[str, str], living: list[WorkerRecord]
) -> Iterator[Finding]:
    """Check one service. `queues` maps its handlers to their queues."""
    if not living:
        unfinished = sum(lag.unfinished for lag in snapshot.lags if lag.service == service)
        waiting = count(unfinished, "unfinished delivery", "unfinished deliveries")
        text = f"{service} has no running worker, and {waiting}"
        remedy = "start a worker, or remove its handlers: celeriac handlers remove"
        yield fail("worker", text, remedy)
        return
    consumed = {queue for worker in living for queue in worker.queues}
    served = {handler for worker in living for handler in worker.handlers}
    for handler, queue in sorted(queues.items()):
        if handler in served:
            continue
        if queue not in consumed:
            text = f"{handler} does not run: no running worker of {service} consumes its queue"
            remedy = (
                f"start a worker of {service} without -Q, or with -Q {queue}; or add the queue to "
                f"a running worker: celery -A MODULE control add_consumer {queue}"
            )
            yield fail("handler", f"{text} {queue}", remedy)
        elif handler in snapshot.handlers:
            text = f"no running worker has {handler} in its code, so its events wait"
            remedy = f"deploy it again, or: celeriac handlers remove {handler}"
            yield fail("handler", text, remedy)
        else:
            text = f"{handler} does not run: it is on a bus of a different Celery app"
            remedy = f"use one EventBus for {service}, or also start a worker of that app"
            yield fail("handler", text, remedy)
    processes = sum(worker.processes for worker in living)
    text = f"{service}: {count(len(living), 'worker')}, {count(processes, 'process', 'processes')}"
    yield ok("worker", text)


def check_groups(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check that each handler has a consumer group, and each group a handler."""
    living = [worker for worker in snapshot.workers if _lives(snapshot, worker)]
    served = {worker.service for worker in living}
    in_code = {handler: worker.name for worker in living for handler in worker.handlers}
    faults = 0
    for lag in snapshot.lags:
        where = f"{lag.handler} in {lag.domain}"
        if not lag.registered and lag.handler in in_code:
            faults += 1
            text = f"{where} has no readable record, and {in_code[lag.handler]} serves it"
            yield warn("group", text, "do not remove it: the worker registers it again within 5 s")
        elif not lag.registered:
            faults += 1
            text = (
                f"orphaned group: {where}; it keeps {count(lag.unfinished, 'event')} from "
                "being trimmed"
            )
            yield fail("group", text, f"celeriac handlers remove {lag.handler}")
        elif not lag.joined and (_has_lost(snapshot, lag) or _is_late(lag, served)):
            faults += 1
            state = "lost its group" if _has_lost(snapshot, lag) else "not joined"
            remedy = f"restart a worker of {lag.service}: it creates the group"
            yield fail("group", f"{where} has {state}, and gets no events", remedy)
    if not faults and snapshot.lags:
        yield ok("group", f"{count(len(snapshot.lags), 'group')}, each of a registered handler")


def _has_lost(snapshot: BusSnapshot, lag: HandlerLag) -> bool:
    return lag.domain in snapshot.handlers[lag.handler].since


def _is_late(lag: HandlerLag, served: set[str]) -> bool:
    """Return whether a running worker should have created the group of a new domain by now."""
    return lag.service in served and lag.oldest_s is not None and lag.oldest_s > JOINED_WITHIN_S


def _lives(snapshot: BusSnapshot, worker: WorkerRecord) -> bool:
    return is_alive(worker, snapshot.now_ms)
