"""Check clocks, workers and consumer groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from celeriac.archive import SERVICE as ARCHIVE
from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok, warn
from celeriac.cli.show import count, duration
from celeriac.event_log import ClockStep
from celeriac.registry import ScaleTargetRecord, WorkerRecord, is_alive, targets_of
from celeriac.tracking import HandlerLag

MAX_SKEW_MS = 5000
STEP_NAMED_MS = 86_400_000
JOINED_WITHIN_S = 10.0
# Two runs of `celeriac archive --once` each hour.
ARCHIVE_PERIOD_S = 7200.0


def check_clocks(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check the clocks of this host and of the workers against the server's."""
    off = {"this host": snapshot.clock_off_ms}
    off |= {w.name: w.clock_ms - w.beat_ms for w in snapshot.workers if _lives(snapshot, w)}
    wrong = {name: ms for name, ms in off.items() if abs(ms) > MAX_SKEW_MS}
    for name, ms in wrong.items():
        side = "ahead of" if ms > 0 else "behind"
        text = f"{name} is {duration(abs(ms) / 1000)} {side} the server"
        yield warn("clock", text, "run NTP on that host: times of events and failures are wrong")
    if stepped := _latest_step(snapshot):
        ago = duration((snapshot.now_ms - stepped.at_ms) / 1000)
        text = f"the server's clock was set back by {duration(stepped.ms / 1000)}, {ago} ago"
        remedy = "run NTP on the server in slew mode; scheduled deliveries were shifted"
        yield warn("clock", text, remedy)
    elif not wrong:
        yield ok("clock", f"{count(len(off), 'clock')} within {duration(MAX_SKEW_MS / 1000)}")


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
    # A worker with broadcasts or schedules only has no handler.
    for service in sorted(queues.keys() | {worker.service for worker in living}):
        running = [worker for worker in living if worker.service == service]
        yield from _service(snapshot, service, queues[service], running)
    if not snapshot.handlers and not living:
        # A worker without handlers, schedules and broadcasts is not registered.
        text = "no handler is registered: no worker with a handler has started yet"
        remedy = (
            "start a worker: celery -A MODULE worker. If one runs, it does not import the modules "
            "of its handlers: name them in app.conf.imports"
        )
        yield warn("worker", text, remedy)
    for worker in snapshot.workers:
        if not _lives(snapshot, worker):
            ago = duration((snapshot.now_ms - worker.beat_ms) / 1000)
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
        if targets := targets_of(snapshot.scale_targets.values(), service, snapshot.now_ms):
            yield from _scaled(snapshot, service, targets, waiting)
            return
        if service == ARCHIVE:
            yield _stopped_archive(snapshot, waiting)
            return
        if all(_is_pulled(snapshot, handler) for handler in queues):
            text = f"no client fetches for {service}, and {waiting}"
            remedy = "start a client, or remove its handlers: celeriac handlers remove"
        else:
            text = f"{service} has no running worker, and {waiting}"
            remedy = "start a worker, or remove its handlers: celeriac handlers remove"
        yield fail("worker", text, remedy)
        return
    consumed = {queue for worker in living for queue in worker.queues}
    served = {handler for worker in living for handler in worker.handlers}
    for handler, queue in sorted(queues.items()):
        if handler in served:
            continue
        if _is_pulled(snapshot, handler):
            text = f"no client has fetched {handler} in the last 30 s, so its events wait"
            remedy = f"start a client, or remove it: celeriac handlers remove {handler}"
            yield fail("handler", text, remedy)
        elif queue not in consumed:
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


def _scaled(
    snapshot: BusSnapshot, service: str, targets: list[ScaleTargetRecord], waiting: str
) -> Iterator[Finding]:
    """Check a service without a worker whose autoscaler asks: it may be scaled to zero."""
    wanted = [target for target in targets if target.unmet_since_ms is not None]
    if not wanted:
        yield ok("worker", f"{service} is scaled to zero: nothing is due within its cooldown")
    for target in wanted:
        unmet_s = (snapshot.now_ms - (target.unmet_since_ms or 0)) / 1000
        number = count(target.workers, "worker")
        if not target.is_overdue(snapshot.now_ms):
            yield ok("worker", f"{target.name} starts: {number} wanted for {duration(unmet_s)}")
            continue
        text = f"{target.name} has no running worker, and {waiting}: its autoscaler should run "
        text += f"{number} since {duration(unmet_s)}"
        yield fail("worker", text, "check the autoscaler: kubectl describe scaledobject")


def _stopped_archive(snapshot: BusSnapshot, waiting: str) -> Finding:
    """Check an archive that no process runs now: `celeriac archive --once` may run each hour."""
    oldest = max((lag.oldest_s or 0 for lag in snapshot.lags if lag.service == ARCHIVE), default=0)
    text = f"no celeriac archive runs now, and {waiting}"
    if oldest < ARCHIVE_PERIOD_S:
        return ok("worker", text)
    remedy = "run celeriac archive --to URL, or remove it: celeriac handlers remove archive.NAME"
    return fail("worker", f"{text}, the oldest for {duration(oldest)}", remedy)


def _is_pulled(snapshot: BusSnapshot, handler: str) -> bool:
    record = snapshot.handlers.get(handler)
    return record is not None and record.pull is not None


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
