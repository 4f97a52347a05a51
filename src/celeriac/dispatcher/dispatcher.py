"""The dispatcher: fetches deliveries from the log and sends their delivery tasks. One per worker.

Each iteration fetches new, scheduled and reclaimed deliveries for every handler in one round trip,
completes those that a handler does not want, sends the rest as chunks, one Celery task each, and
waits for a wakeup. A crash loses nothing: fetched deliveries are pending under the worker's name,
and when their lease expires, another dispatcher of the service reclaims them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Event as Flag
from typing import Any

import redis

from celeriac.delivery.sources import Sources
from celeriac.dispatcher.circuits import CircuitCache
from celeriac.dispatcher.context import DispatcherContext
from celeriac.dispatcher.delayed_events import DelayedEvents
from celeriac.dispatcher.domain_reader import DomainReader
from celeriac.dispatcher.fetching import ChunkFetcher
from celeriac.dispatcher.group_state import GroupState, is_plain
from celeriac.dispatcher.group_table import GroupTable, wake
from celeriac.dispatcher.maintenance import Maintenance
from celeriac.dispatcher.membership import Membership
from celeriac.dispatcher.new_deliveries import NewDeliveries
from celeriac.dispatcher.outage import log_outage, outage_pause
from celeriac.dispatcher.pending import RECLAIM_INTERVAL, WORKERS_INTERVAL, PendingDeliveries
from celeriac.dispatcher.poll_interval import BUSY, IDLE, until
from celeriac.dispatcher.process_share import ProcessShare, processes_for_slow
from celeriac.dispatcher.schedules import Schedules
from celeriac.dispatcher.task_sender import Send, TaskSender
from celeriac.handler import Handler
from celeriac.registry import WorkerRecord
from celeriac.service import Service
from celeriac.store.redis.refusal import is_demotion
from celeriac.store.redis.wakeup import LONGEST_WAIT_MS, WAKEUP

logger = logging.getLogger(__name__)

OPEN = nullcontext()
# Seconds after an outage in which no lease is reclaimed: executors could not renew or complete.
RENEWED_WITHIN = 2.0
STALLED = 0.5  # seconds beyond a wait after which the server counts as having been unreachable
MAX_POLL_INTERVAL = 2.0  # seconds between polls of a group without a wakeup


class Dispatcher:
    """One thread calls `run`, or `run_once` repeatedly; any thread may call `stop`."""

    def __init__(
        self,
        service: Service,
        send: Send,
        *,
        processes: int,
        # The queues that the worker's own pool consumes, which remote control may change; None if
        # it dispatches for pools elsewhere.
        queues: Callable[[], Collection[str]] | None = None,
        # Whether the worker's own pool accepts a task of a queue at once.
        is_free: Callable[[str], bool] = lambda _: False,
        # How many more tasks of a queue the pool accepts in advance; None if they use the broker.
        pool_capacity: Callable[[str], int | None] = lambda _: None,
        describe: Callable[[], WorkerRecord],
        gate: AbstractContextManager[Any] = OPEN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.settings = service.settings
        self.processes = max(1, processes)
        self._gate = gate  # closed while the process forks: see worker/fork_gate.py
        self._clock = clock
        self._maintenance = Maintenance(lambda: service.backend, describe, clock)
        self._stopped = Flag()
        self._groups = GroupTable()
        self._circuits = CircuitCache()
        self._tasks = TaskSender(send, self.processes, self._groups, self._circuits)
        self._share = ProcessShare(self.settings)
        self._has_pool = queues is not None
        self._workers_read_at: float | None = None
        self._seen: dict[str, str] = {}
        self._waits_for: frozenset[str] = frozenset()
        self._delayed_events = DelayedEvents(service)
        self._schedules = Schedules(service)
        poll_interval = max(IDLE, min(MAX_POLL_INTERVAL, self.settings.lease * RECLAIM_INTERVAL))
        self._fetcher = ChunkFetcher(
            service, is_free, lambda state: self._share.has_slot(state, self.processes)
        )
        self._reader = DomainReader(service, self._fetcher, poll_interval)
        self._sources = Sources(clock)
        self._enqueue_due_at = 0.0
        self._members = Membership(service, queues, self._groups, self._share, self._reader, clock)
        context = DispatcherContext(
            processes=self.processes,
            groups=self._groups,
            members=self._members,
            share=self._share,
            circuits=self._circuits,
            tasks=self._tasks,
            sources=self._sources,
            reader=self._reader,
            requeue=self._requeue_group,
            poll_interval=poll_interval,
        )
        self._new = NewDeliveries(context, self._fetcher, pool_capacity)
        self._pending = PendingDeliveries(context, service)

    @property
    def handlers(self) -> Sequence[Handler]:
        """The handlers that this dispatcher serves now, the most urgent first."""
        return self._members.handlers

    def run(self) -> None:
        """Iterate until stopped. Waits while Redis is unreachable; logs a failed iteration."""
        failures, woken = 0, None
        while not self._stopped.is_set():
            try:
                with self._gate:
                    pause = self.run_once(woken)
                if failures:
                    logger.info("celeriac: dispatching again")
                failures = 0
                woken = self._wait(pause)
            except Exception as error:
                failures += 1
                woken = None
                log_outage(error, failures, self.settings.redis_url)
                if isinstance(error, redis.RedisError):
                    self._after_outage(error)
                self._stopped.wait(outage_pause(failures))

    def _after_outage(self, error: redis.RedisError) -> None:
        self._pending.reclaim_from = self._clock() + RENEWED_WITHIN
        if is_demotion(error):
            # The connection stays up, but its server gets no more events.
            self.service.backend.event_log.reconnect()

    def stop(self) -> None:
        """End `run` after its iteration, at most IDLE seconds later."""
        self._stopped.set()

    def requeue(self) -> None:
        """Requeue the unclaimed deliveries of this worker for others. Call this after `run`."""
        for state in self._groups:
            self._requeue_group(state)
        self.service.backend.registry.depart(self.service.worker)

    def _requeue_group(self, state: GroupState) -> None:
        """Requeue the group's queued deliveries; their tasks then find nothing to claim."""
        self._tasks.drop(state)
        while self.service.backend.deliveries.requeue(self.service.worker, state.group):
            pass
        if is_plain(state.handler):
            self._fetcher.requeue_queued(state)

    # -- one iteration

    def run_once(self, woken: Collection[str] | None = None) -> float:
        """Dispatch all that can be dispatched; return the seconds until the next iteration.

        `woken` names the streams with new entries: `DOMAIN`, or `wakeup DOMAIN`. None means that
        any stream may have some.
        """
        now = self._clock()
        if self._members.follow_queues(self._requeue_group):
            self._workers_read_at = None
            self._maintenance.beat_soon()
        self._members.join_domains()
        self._check_circuits()
        self._read_workers()
        self._tasks.flush()
        self._wake(woken)
        self._new.read()
        ready = self._groups.ready(now)
        fetching = [state for state in ready if self._new.wants(state)]
        self._new.fetch(now, fetching)
        # The fetch may have changed the groups' patterns.
        fetched = {state.group for state in fetching if self._new.wants(state)}
        self._pending.fetch(now, ready, fetched)
        self._new.plan(now, [state for state in fetching if state.group in fetched])
        self._tasks.flush()
        self._new.advance(now)
        self._pending.skip()
        self._sources.flush(self.service.backend.deliveries)
        if (
            woken is None
            or now >= self._enqueue_due_at
            or any(d.startswith(f"{WAKEUP} ") for d in woken)
        ):
            self._enqueue_due_at = now + self._enqueue_due(woken)
        until_tick = self._schedules.run()
        members = self._members
        if self._maintenance.run(
            members.domains,
            handlers=members.records,
            discover=members.has_wildcard,
            newest=self._seen,
        ):
            members.look_for_domains()
        if (again := self._reader.pause()) == 0:
            return 0.0
        wake_at = min(self._groups.next_poll(), self._enqueue_due_at, now + again)
        return min(IDLE, until_tick, max(0.0, wake_at - now))

    def _wake(self, woken: Collection[str] | None) -> None:
        """Mark groups that may have new or due entries. A wakeup stream names only its domain."""
        if woken is None:
            self._reader.wake(None)
            wake(self._groups, new=True, pending=True)
            return
        for stream in woken:
            name, is_wakeup = stream.rpartition(" ")[2], stream.startswith(f"{WAKEUP} ")
            groups = self._groups.in_domain(name)
            if name not in self._reader:
                wake(groups, new=not is_wakeup, pending=is_wakeup)
            elif is_wakeup:
                self._reader.wake_pending(name)
            else:
                self._reader.wake([name])
                wake((state for state in groups if not state.is_shared), new=True)

    def _read_workers(self) -> None:
        now, name = self._clock(), self.service.worker
        if self._workers_read_at is not None and now - self._workers_read_at < WORKERS_INTERVAL:
            return
        self._workers_read_at = now
        handlers = [handler.id for handler in self.handlers]
        workers = self.service.backend.registry.workers()
        spare = self.settings.reserved_processes
        this_worker = name, self.processes
        self._share.processes = processes_for_slow(workers, this_worker, handlers, spare)
        if self._has_pool:
            self._share.here = max(0, self.processes - spare)
        self._members.report_unserved(workers)

    def _enqueue_due(self, woken: Collection[str] | None) -> float:
        """Append due events to the logs; return the seconds until the next call."""
        domains = self._members.domains
        streams = domains if woken is None else woken
        answers = self._delayed_events(domains, {name.rpartition(" ")[2] for name in streams})
        if any(moved for moved, _ in answers):
            return 0.0
        following = min((at for _, at in answers if at is not None), default=None)
        return (
            IDLE if following is None else until(following, self.service.backend.registry.now_ms())
        )

    # -- circuits

    def _check_circuits(self) -> None:
        """Requeue the deliveries of handlers whose circuit opened; their tasks claim nothing."""
        lease_ms, service = int(self.settings.lease * 1000), self.service
        for opened in self._circuits.refresh(
            service.backend, service.worker, self.handlers, lease_ms, self._clock()
        ):
            logger.warning(
                "%s is paused: see `celeriac handlers`; its events wait in the log", opened
            )
            for state in self._groups:
                if state.handler.id == opened:
                    self._requeue_group(state)

    # -- waiting

    def _wait(self, seconds: float) -> Collection[str] | None:
        """Return the streams that got entries within the time; None if there is no stream yet."""
        if self._stopped.is_set():
            return ()
        self._follow_domains()
        if not self._seen:
            self._stopped.wait(seconds)
            return None
        if seconds <= BUSY or self._new.is_full:
            # Without available slots, each new entry would cause an iteration.
            self._stopped.wait(min(seconds, BUSY))
            seconds = max(0.0, seconds - BUSY)
        began = self._clock()
        before, self._seen = (
            self._seen,
            dict(self.service.backend.event_log.wait(self._seen, seconds)),
        )
        if self._clock() - began > min(seconds, LONGEST_WAIT_MS / 1000) + STALLED:
            # The server was busy or frozen. A waiting read is not refused then, but renewals are.
            self._pending.reclaim_from = self._clock() + RENEWED_WITHIN
        return [stream for stream, entry in self._seen.items() if before[stream] != entry]

    def _follow_domains(self) -> None:
        """Wait for the streams of all domains with groups, and for no others."""
        if self._waits_for is self._groups.domains:
            return
        self._waits_for = self._groups.domains
        streams = [s for domain in self._waits_for for s in (domain, f"{WAKEUP} {domain}")]
        self._seen = {stream: self._seen.get(stream, "0-0") for stream in streams}
