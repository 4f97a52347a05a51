"""Is every handler served, and does nothing hold the log back?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok, warn
from celeriac.cli.show import age, count
from celeriac.event_log import ClockStep
from celeriac.registry import WorkerRecord, is_alive
from celeriac.tracking import HandlerLag

MOST_SKEW_MS = 5000
STEP_NAMED_MS = 86_400_000
JOINED_WITHIN_S = 10.0


def check_clocks(snapshot: BusSnapshot) -> Iterator[Finding]:
    """This host's clock and the workers', against the server's."""
    off = {"this host": snapshot.clock_off_ms}
    off |= {w.name: w.clock_ms - w.beat_ms for w in snapshot.workers if _lives(snapshot, w)}
    wrong = {name: ms for name, ms in off.items() if abs(ms) > MOST_SKEW_MS}
    for name, ms in wrong.items():
        side = "ahead of" if ms > 0 else "behind"
        text = f"{name} is {age(abs(ms) / 1000)} {side} the server"
        yield warn("clock", text, "run NTP there: times of events and failures are off by that")
    if stepped := _latest_step(snapshot):
        ago = age((snapshot.now_ms - stepped.at_ms) / 1000)
        text = f"the server's clock was set back by {age(stepped.ms / 1000)}, {ago} ago"
        remedy = "run NTP on the server, in slew mode. Scheduled deliveries were moved along"
        yield warn("clock", text, remedy)
    elif not wrong:
        yield ok("clock", f"{count(len(off), 'clock')} within {age(MOST_SKEW_MS / 1000)}")


def _latest_step(snapshot: BusSnapshot) -> ClockStep | None:
    """The last step back of the server's clock, if it was within a day."""
    steps = [s for s in snapshot.clock_steps.values() if snapshot.now_ms - s.at_ms < STEP_NAMED_MS]
    return max(steps, key=lambda step: step.at_ms, default=None)


def check_workers(snapshot: BusSnapshot) -> Iterator[Finding]:
    """A living worker for each service, for each queue, and for each handler."""
    # A dispatcher without a pool has no processes.
    living = [w for w in snapshot.workers if _lives(snapshot, w) and w.processes]
    queues: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for record in snapshot.handlers.values():
        queues[record.service][record.id] = record.queue
    for worker in living:
        # Not registered where no worker ever served it.
        queues[worker.service] |= worker.unserved
    for service, of_handler in sorted(queues.items()):
        if of_handler:
            own = [w for w in living if w.service == service]
            yield from _service(snapshot, service, of_handler, own)
    if not snapshot.handlers:
        remedy = "start one: celery -A <module> worker"
        yield warn("worker", "no handler is registered: no worker was ever started", remedy)
    for worker in snapshot.workers:
        if not _lives(snapshot, worker):
            ago = age((snapshot.now_ms - worker.beat_ms) / 1000)
            text = f"{worker.name} is gone without a word, {ago} ago"
            remedy = "killed, or cut off? What it held goes to others when its lease is over"
            yield warn("worker", text, remedy)


def _service(
    snapshot: BusSnapshot, service: str, queues: dict[str, str], living: list[WorkerRecord]
) -> Iterator[Finding]:
    """`queues` maps the service's handlers to their queues."""
    if not living:
        unfinished = sum(one.unfinished for one in snapshot.lags if one.service == service)
        waiting = count(unfinished, "unfinished delivery", "unfinished deliveries")
        text = f"{service} has no living worker, and {waiting}"
        remedy = "start one, or remove its handlers (celeriac handlers remove): they hold the log"
        yield fail("worker", text, remedy)
        return
    consumed = {queue for worker in living for queue in worker.queues}
    served = {handler for worker in living for handler in worker.handlers}
    for handler, queue in sorted(queues.items()):
        if handler in served:
            continue
        if queue not in consumed:
            text = f"{handler} does not run: no living worker of {service} consumes its queue"
            remedy = (
                f"start a worker of {service} without -Q, or with -Q {queue}; or tell a running "
                f"one: celery -A <module> control add_consumer {queue}"
            )
            yield fail("handler", f"{text} {queue}", remedy)
        elif handler in snapshot.handlers:
            text = f"no living worker has {handler} in its code, and its events wait for one"
            remedy = f"deploy it again, or: celeriac handlers remove {handler}"
            yield fail("handler", text, remedy)
        else:
            text = f"{handler} does not run: it is on a bus of another Celery app than the workers'"
            remedy = f"use one EventBus for {service}, or start a worker of that app as well"
            yield fail("handler", text, remedy)
    processes = sum(worker.processes for worker in living)
    text = f"{service}: {count(len(living), 'worker')}, {count(processes, 'process', 'processes')}"
    yield ok("worker", text)


def check_groups(snapshot: BusSnapshot) -> Iterator[Finding]:
    """A group for each handler, and a handler for each group."""
    living = [worker for worker in snapshot.workers if _lives(snapshot, worker)]
    served = {worker.service for worker in living}
    in_code = {handler: worker.name for worker in living for handler in worker.handlers}
    faults = 0
    for one in snapshot.lags:
        where = f"{one.handler} in {one.domain}"
        if not one.registered and one.handler in in_code:
            faults += 1
            text = f"{where} has no readable record, and {in_code[one.handler]} serves it"
            yield warn("group", text, "do not remove it: the worker registers it again within 5 s")
        elif not one.registered:
            faults += 1
            text = f"the group {where} is nobody's, and holds back {count(one.unfinished, 'event')}"
            yield fail("group", text, f"celeriac handlers remove {one.handler}")
        elif not one.joined and (_has_lost(snapshot, one) or _is_late(one, served)):
            faults += 1
            state = "lost its group" if _has_lost(snapshot, one) else "not joined"
            remedy = f"restart a worker of {one.service}: it joins then"
            yield fail("group", f"{where} has {state}, and gets nothing", remedy)
    if not faults and snapshot.lags:
        yield ok("group", f"{count(len(snapshot.lags), 'group')}, each of a registered handler")


def _has_lost(snapshot: BusSnapshot, one: HandlerLag) -> bool:
    return one.domain in snapshot.handlers[one.handler].since


def _is_late(one: HandlerLag, served: set[str]) -> bool:
    """Whether a living worker should have joined a new domain by now."""
    return one.service in served and one.oldest_s is not None and one.oldest_s > JOINED_WITHIN_S


def _lives(snapshot: BusSnapshot, worker: WorkerRecord) -> bool:
    return is_alive(worker, snapshot.now_ms)
