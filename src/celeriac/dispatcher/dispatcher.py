"""The dispatcher: takes deliveries from the log and sends their hints. One per worker.

A turn: take new, due and abandoned deliveries for every handler in one round trip; settle in
passing what a handler does not want; send the rest as chunks, one Celery task each; wait at the
doorbell. Nothing it holds is lost with it: what it took is pending under its name, and when the
lease is over any other dispatcher of the service takes it.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Event as Flag
from typing import Any

import redis

from celeriac.delivery import FetchRequest, FetchResult, Group
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.sources import Sources
from celeriac.dispatcher.circuits import Doors
from celeriac.dispatcher.domain_reader import DomainReader
from celeriac.dispatcher.fetching import ChunkFetcher, FetchedChunk
from celeriac.dispatcher.group_state import NEVER, UNKNOWN, GroupState, is_plain, until_pending
from celeriac.dispatcher.group_table import GroupTable, look_at, rest, wake
from celeriac.dispatcher.janitor import Janitor
from celeriac.dispatcher.membership import Membership
from celeriac.dispatcher.outage import tell_outage
from celeriac.dispatcher.pause import BUSY, IDLE, until, until_asked
from celeriac.dispatcher.pending import RECLAIM_INTERVAL, PendingDeliveries
from celeriac.dispatcher.promotion import Promotion
from celeriac.dispatcher.schedules import Schedules
from celeriac.dispatcher.share import Share, processes_for_slow
from celeriac.dispatcher.task_sender import Send, TaskSender, note_queued
from celeriac.handler import Handler
from celeriac.registry import WorkerRecord
from celeriac.service import Service
from celeriac.store.redis.event_log import WAKEUP
from celeriac.store.redis.refusal import is_demotion
from celeriac.store.redis.wakeup import LONGEST_WAIT_MS

logger = logging.getLogger(__name__)

OPEN = nullcontext()
NONE_REPEATED = Repetitions()
LOOK_AT_WORKERS = 5.0  # seconds between looks at who else serves the handlers
# Seconds after an outage in which no lease is taken over: nobody could renew his, or finish.
RENEWED_WITHIN = 2.0
STALLED = 0.5  # seconds beyond a wait after which the server counts as having been away
UNRUNG = 2.0  # how often a lane is asked for at whose domain nobody rings
ASKED_UNRUNG = 100  # a second, of lanes in which nobody holds anything: of more, each waits longer


class Dispatcher:
    """One thread calls `run`, or `turn` again and again; `stop` may be called from any."""

    def __init__(
        self,
        service: Service,
        send: Send,
        *,
        processes: int,
        # Those that the worker's own pool consumes at the time, which remote control may change;
        # None where it dispatches for pools elsewhere.
        queues: Callable[[], Collection[str]] | None = None,
        # Whether the worker's own pool takes a task of a queue at once.
        is_free: Callable[[str], bool] = lambda _: False,
        describe: Callable[[], WorkerRecord],
        gate: AbstractContextManager[Any] = OPEN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.settings = service.settings
        self.processes = max(1, processes)
        self._gate = gate  # closed while the process forks: see worker/fork_gate.py
        self._clock = clock
        self._janitor = Janitor(lambda: service.backend, describe, clock)
        self._stopped = Flag()
        self._groups = GroupTable()
        self._doors = Doors()
        self._tasks = TaskSender(send, self.processes, self._groups, self._doors)
        self._share = Share(self.settings)
        self._has_pool = queues is not None
        self._looked_at_workers: float | None = None
        self._seen: dict[str, str] = {}
        self._rings_for: frozenset[str] = frozenset()
        self._promotion = Promotion(service)
        self._schedules = Schedules(service)
        self._unrung = max(IDLE, min(UNRUNG, self.settings.lease * RECLAIM_INTERVAL))
        self._fetcher = ChunkFetcher(service, self.processes, is_free)
        self._reader = DomainReader(service, self._fetcher, self._unrung)
        self._sources = Sources(clock)
        self._promote_at = 0.0
        self._members = Membership(service, queues, self._groups, self._share, self._reader, clock)
        self._pending = PendingDeliveries(
            service,
            self.processes,
            self._groups,
            self._members,
            self._share,
            self._doors,
            self._tasks,
            self._sources,
        )

    @property
    def handlers(self) -> Sequence[Handler]:
        """Return the handlers that it serves now, the most urgent first."""
        return self._members.handlers

    def run(self) -> None:
        """Turns until stopped. Redis going away is waited out; a turn that fails is logged."""
        failures, rung = 0, None
        while not self._stopped.is_set():
            try:
                with self._gate:
                    pause = self.turn(rung)
                if failures:
                    logger.info("celeriac: dispatching again")
                failures = 0
                rung = self._wait(pause)
            except Exception as error:
                failures += 1
                rung = None
                tell_outage(error, failures, self.settings.redis_url)
                if isinstance(error, redis.RedisError):
                    self._after_outage(error)
                self._stopped.wait(min(2.0, 0.1 * 2 ** min(failures, 6)) * random.uniform(0.5, 1))

    def _after_outage(self, error: redis.RedisError) -> None:
        self._pending.sweep_from = self._clock() + RENEWED_WITHIN
        if is_demotion(error):
            # The link stays up; it would wait at a server that gets no more events.
            self.service.backend.event_log.reconnect()

    def stop(self) -> None:
        """Ends `run` after its turn, at most IDLE seconds later."""
        self._stopped.set()

    def requeue(self) -> None:
        """After the last turn: what is queued here and not claimed becomes due for others."""
        for state in self._groups:
            self._give_back(state)
        self.service.backend.registry.depart(self.service.worker)

    def _give_back(self, state: GroupState) -> None:
        """What is queued here becomes due, with the attempts it had; its tasks find nothing."""
        self._tasks.drop(state)
        while self.service.backend.deliveries.requeue(self.service.worker, state.group):
            pass
        if is_plain(state.handler):
            self._fetcher.requeue_queued(state)

    # -- one turn

    def turn(self, rung: Collection[str] | None = None) -> float:
        """Dispatches what can be dispatched; returns the seconds that may pass until the next.

        `rung` names the doors at which somebody rang; None says that there may be something
        behind any.
        """
        now = self._clock()
        if self._members.follow_queues(self._give_back):
            self._looked_at_workers = None
            self._janitor.beat_soon()
        self._members.join_domains()
        self._look_at_circuits()
        self._look_at_workers()
        self._tasks.flush()
        self._wake(rung)
        self._look(now)
        self._read(now)
        ready = self._groups.ready(now)
        fetching = [state for state in ready if self._is_fetched(state)]
        self._fetch(now, fetching)
        # What was fetched may have said otherwise.
        fetched = {state.group for state in fetching if self._is_fetched(state)}
        self._take_pending(now, ready, fetched)
        self._plan_fetched(now, [state for state in fetching if state.group in fetched])
        self._tasks.flush()
        self._pending.skip()
        self._sources.flush(self.service.backend.deliveries)
        if rung is None or now >= self._promote_at or any(d.startswith(f"{WAKEUP} ") for d in rung):
            self._promote_at = now + self._promote(rung)
        until_tick = self._schedules.turn()
        members = self._members
        if self._janitor.turn(
            members.domains,
            own=members.records,
            discover=members.has_wildcard,
            newest=self._seen,
        ):
            members.look_for_domains()
        if self._reader.is_behind:
            return 0.0
        wake_at = min(self._groups.next_look(), self._promote_at)
        return min(IDLE, until_tick, max(0.0, wake_at - now))

    def _wake(self, rung: Collection[str] | None) -> None:
        """Note where there may be something new, or due: of whichever group a bell does not say."""
        if rung is None:
            self._reader.wake(None)
            wake(self._groups, new=True, pending=True)
            return
        for door in rung:
            name, is_bell = door.rpartition(" ")[2], door.startswith(f"{WAKEUP} ")
            groups = self._groups.in_domain(name)
            if name not in self._reader:
                wake(groups, new=not is_bell, pending=is_bell)
            elif is_bell:
                self._reader.wake_pending(name)
            else:
                self._reader.wake([name])
                wake((one for one in groups if not one.is_together), new=True)

    def _look(self, now: float) -> None:
        """Move groups that stand together past what they do not want, and look for what no bell
        rings for: expired leases, and groups that are gone."""
        read = self._reader.look(now, self._members.may_share)
        wake(read.pending, pending=True)
        wake(read.leaving, new=True)
        self._members.join_again(read.removed)

    # -- groups that stand together

    def _read(self, now: float) -> None:
        """Read on once for all groups that stand together."""

        def takes_chunk(state: GroupState) -> bool:
            return self._is_fetched(state) and state.has_room(self.processes)

        read = self._reader.read(self._members.may_share, takes_chunk)
        for one in read.chunks:
            self._note_chunk(now, one)
        wake(read.leaving, new=True)
        self._members.join_again(read.removed)

    # -- chunks

    def _is_fetched(self, state: GroupState) -> bool:
        """Whether what is new for the group comes in chunks, and not delivery by delivery."""
        handler = state.handler
        return (
            state.group in self._groups
            and is_plain(handler)
            and self._members.may_share(state)
            and self._doors.most(handler.id) is None
            and not self._share.leaves_room(state)
        )

    def _fetch(self, now: float, groups: Sequence[GroupState]) -> None:
        """Fetch a chunk for each of these groups that may have something new."""
        wanted = [state for state in groups if state.fetch_at <= now and not state.is_together]
        found = self._fetcher.fetch(wanted)
        self._members.join_again([one.state for one in found if one.fetched.removed])
        found = [one for one in found if not (one.fetched.removed or one.fetched.is_unknown)]
        for one in found:
            state = one.state
            state.position = one.fetched.position
            state.fetch_at = now if one.more else math.inf
            self._note_chunk(now, one)
        for at_end in (True, False):
            self._reader.note_fetched(
                [
                    one.state
                    for one in found
                    if one.more is not at_end and self._members.may_share(one.state)
                ],
                at_end=at_end,
            )

    def _note_chunk(self, now: float, one: FetchedChunk) -> None:
        """Send the chunk, and note what came with it."""
        state = one.state
        if state.group not in self._groups:
            return
        state.open_chunks = one.fetched.open_chunks
        if self._share.note_run_time(state, one.fetched.mean_us):
            self._give_back(state)
        self._members.note_in_force(state, one.fetched.patterns)
        if one.fetched.entries:
            self._accept_chunk(one)

    def _plan_fetched(self, now: float, groups: Sequence[GroupState]) -> None:
        """When each of them is looked at again."""
        for state in groups:
            if state.fetch_at <= now and not state.has_room(self.processes):
                state.fetch_at = now + BUSY
            at = state.take_at if state.is_together else min(state.take_at, state.fetch_at)
            if at < math.inf:
                look_at(state, at)
            elif state.is_together:
                rest(state, NEVER)
            else:
                longest = max(self._unrung, len(self._groups) / ASKED_UNRUNG)
                state.fetch_at = now + longest * random.uniform(0.5, 1)
                rest(state, state.fetch_at)

    def _accept_chunk(self, one: FetchedChunk) -> None:
        """Send what was fetched, or report it where nothing of it runs.

        Where entries repeat others, the rest is claimed one by one.
        """
        state, entries = one.state, one.fetched.entries
        sifted = one.sift(self._members.retired(state))
        size = sum(len(entry.body or b"") for entry in entries)
        state.size.note(len(entries), len(sifted.wanted), size)
        self._sources.add(state.group.domain, sifted.sources)
        if not self._is_fetched(state):
            self._fetcher.requeue(state, one.request.chunk)
            wake([state], pending=True)
            return
        repeated = self._fetcher.repetitions(one, sifted)
        if one.runnable(sifted) and repeated == NONE_REPEATED:
            self._tasks.add([one.chunk(sifted)])
        elif self._fetcher.complete(one, sifted, repeated.certain):
            wake([state], pending=True)

    # -- pending deliveries

    def _take_pending(
        self, now: float, ready: Sequence[GroupState], fetched: Collection[Group]
    ) -> None:
        """Take pending deliveries; of groups that are not fetched also new ones."""
        requests = self._pending.requests(now, ready, fetched)
        answers = self.service.backend.deliveries.fetch(self.service.worker, requests)
        for ask, taken in zip(requests, answers, strict=True):
            state = self._groups.get(ask.group)
            if state is None:  # removed, as was seen in another of its domains
                continue
            if taken.removed:
                self._members.join_again([state])
            else:
                self._note_taken(now, state, ask, taken, is_fetched=state.group in fetched)

    def _note_taken(
        self,
        now: float,
        state: GroupState,
        ask: FetchRequest,
        taken: FetchResult,
        *,
        is_fetched: bool,
    ) -> None:
        self._members.note_in_force(state, taken.patterns)
        if self._members.is_left_to_others(state):
            look_at(state, now + LOOK_AT_WORKERS)
            return
        note_queued(state, taken.queued)
        state.queued = taken.queued + len(taken.deliveries)
        if self._share.note(state, taken):
            # Its tasks that wait would hold every process, one after the other.
            self._give_back(state)
            look_at(state, now)
            return
        wanted = self._pending.accept(state, ask, taken)
        if is_fetched:
            state.take_at = now + until_pending(ask, taken)
            return
        if (
            state.group.domain in self._reader
            and taken.is_at_end
            and self._members.may_share(state)
        ):
            state.position = UNKNOWN
            self._reader.note_fetched([state], at_end=True)
        enough = self._tasks.has_enough(state)
        pause = until_asked(
            ask, taken, wanted, enough, self.processes, self._unrung, new=not state.is_together
        )
        if pause is not None:
            look_at(state, now + pause)
        elif state.is_together:
            rest(state, NEVER)
        else:
            longest = self._unrung
            if not taken.in_flight and not taken.deliveries:
                # No lease can be over: what another worker takes comes from an entry that rings.
                longest = max(longest, len(self._groups) / ASKED_UNRUNG)
            rest(state, now + longest * random.uniform(0.5, 1))

    def _look_at_workers(self) -> None:
        now, own = self._clock(), self.service.worker
        if self._looked_at_workers is not None and now - self._looked_at_workers < LOOK_AT_WORKERS:
            return
        self._looked_at_workers = now
        handlers = [handler.id for handler in self.handlers]
        workers = self.service.backend.registry.workers()
        spare = self.settings.reserved_processes
        self._share.processes = processes_for_slow(workers, (own, self.processes), handlers, spare)
        if self._has_pool:
            self._share.here = max(0, self.processes - spare)
        self._members.report_unserved(workers)

    def _promote(self, rung: Collection[str] | None) -> float:
        """Seconds until it is to be called again."""
        domains = self._members.domains
        doors = domains if rung is None else rung
        promoted = self._promotion(domains, {door.rpartition(" ")[2] for door in doors})
        if any(moved for moved, _ in promoted):
            return 0.0
        following = min((at for _, at in promoted if at is not None), default=None)
        return (
            IDLE if following is None else until(following, self.service.backend.registry.now_ms())
        )

    # -- circuits

    def _look_at_circuits(self) -> None:
        """What is queued for a handler that was shut goes back: its hints find nothing to claim."""
        lease_ms, service = int(self.settings.lease * 1000), self.service
        for shut in self._doors.look(
            service.backend, service.worker, self.handlers, lease_ms, self._clock()
        ):
            logger.warning(
                "%s is paused: see `celeriac handlers`; its events wait in the log", shut
            )
            for state in self._groups:
                if state.handler.id == shut:
                    self._give_back(state)

    # -- the doorbell

    def _wait(self, seconds: float) -> Collection[str] | None:
        """The doors at which somebody rang within the time; None where there is no door yet."""
        if self._stopped.is_set():
            return ()
        self._follow_domains()
        if not self._seen:
            self._stopped.wait(seconds)
            return None
        if seconds <= BUSY:
            self._stopped.wait(seconds)
            seconds = 0.0
        began = self._clock()
        before, self._seen = (
            self._seen,
            dict(self.service.backend.event_log.wait(self._seen, seconds)),
        )
        if self._clock() - began > min(seconds, LONGEST_WAIT_MS / 1000) + STALLED:
            # It was busy or frozen. A read that waits is not refused meanwhile, as renewals are.
            self._pending.sweep_from = self._clock() + RENEWED_WITHIN
        return [door for door, entry in self._seen.items() if before[door] != entry]

    def _follow_domains(self) -> None:
        """Wait at the doorbells of all domains with groups, and at no others."""
        if self._rings_for is self._groups.domains:
            return
        self._rings_for = self._groups.domains
        doors = [door for domain in self._rings_for for door in (domain, f"{WAKEUP} {domain}")]
        self._seen = {door: self._seen.get(door, "0-0") for door in doors}
