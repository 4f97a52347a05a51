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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import Event as Flag
from typing import Any

import redis

from celeriac.dispatcher.agenda import NEVER, RUNG, Agenda
from celeriac.dispatcher.apart import run_apart
from celeriac.dispatcher.chunk import Chunk, Item, limit, split
from celeriac.dispatcher.circuits import Doors
from celeriac.dispatcher.crowds import Crowds
from celeriac.dispatcher.fetching import ChunkFetcher, FetchedChunk
from celeriac.dispatcher.flow import HINTS_AHEAD, Flow
from celeriac.dispatcher.group_state import GroupState, until_pending
from celeriac.dispatcher.groups import join, leave_domains, rejoin, without_domains
from celeriac.dispatcher.janitor import Janitor
from celeriac.dispatcher.outage import tell_outage
from celeriac.dispatcher.pause import BUSY, IDLE, until, until_asked
from celeriac.dispatcher.promotion import Promotion
from celeriac.dispatcher.served import Unserved, served_handlers
from celeriac.dispatcher.share import PUT_OFF_FOR_OTHERS_MS, Share, processes_for_slow
from celeriac.dispatcher.sift import sift
from celeriac.event.pattern import literal_domain
from celeriac.ledger import Ask, Lane, Settled, Taken
from celeriac.ledger.repetition import Repetitions
from celeriac.ledger.sources import Sources
from celeriac.log.doorbell import LONGEST_WAIT_MS
from celeriac.log.redis import BELL
from celeriac.refusal import is_demotion
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.subscription import Handler, Service

log = logging.getLogger(__name__)

Send = Callable[[Chunk], None]
OPEN = nullcontext()
NOW = -math.inf
NONE_REPEATED = Repetitions()
SWEEP = 0.1  # of a lease: how often leases that are over are looked for
LOOK_AT_WORKERS = 5.0  # seconds between looks at who else serves the handlers
# Seconds after an outage in which no lease is taken over: nobody could renew his, or finish.
RENEWED_WITHIN = 2.0
STALLED = 0.5  # seconds beyond a wait after which the server counts as having been away
UNRUNG = 2.0  # how often a lane is asked for at whose domain nobody rings
ASKED_UNRUNG = 100  # a second, of lanes in which nobody holds anything: of more, each waits longer
DOMAINS_LOOKED_FOR = 1000  # a second: of more, new ones are looked for less often than every IDLE


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
        self._queues = queues
        self._consumed = None if queues is None else frozenset(queues())
        # Pool processes have no handler that is imported later.
        self._in_code = tuple(service.handlers.values())
        self.handlers: list[Handler] = served_handlers(self._in_code, self._consumed)
        self._removed: set[str] = set()
        self._unserved = Unserved()
        self._send = send
        self._gate = gate  # closed while the process forks: see worker/fork_gate.py
        self._clock = clock
        self._janitor = Janitor(lambda: service.backend, describe, clock)
        self._stopped = Flag()
        self._lanes: dict[Lane, Handler] = {}
        self._records: dict[str, HandlerRecord] = {}
        self._mean: dict[Lane, int] = {}
        self._queued: dict[Lane, int] = {}
        # Lanes of which the last deliveries that were taken had been begun before.
        self._begun: set[Lane] = set()
        # Toggled with each ask.
        self._new_first: set[Lane] = set()
        self._in_force: dict[Lane, tuple[str, ...]] = {}
        self._flow = Flow()
        self._doors = Doors()
        self._share = Share(self.settings)
        self._has_pool = queues is not None
        self._looked_at_workers: float | None = None
        self._unsent: list[Chunk] = []
        self._unwanted: list[tuple[Lane, list[Settled]]] = []
        self._seen: dict[str, str] = {}
        self._domains: frozenset[str] = frozenset()
        self._promotion = Promotion(service)
        self._offered: frozenset[str] = frozenset()
        self._joined = False
        self._looked_for_domains = 0.0
        self._agenda = Agenda()
        self._swept: dict[Lane, float] = {}
        self._sweep_from = -math.inf
        self._unrung = max(IDLE, min(UNRUNG, self.settings.lease * SWEEP))
        self._crowds = Crowds(self._unrung)
        self._fetcher = ChunkFetcher(service, self.processes, is_free)
        self._sources = Sources(clock)
        self._promote_at = 0.0
        self._wildcard = any(h.matcher.domains is None for h in self.handlers)

    def run(self) -> None:
        """Turns until stopped. Redis going away is waited out; a turn that fails is logged."""
        failures, rung = 0, None
        while not self._stopped.is_set():
            try:
                with self._gate:
                    pause = self.turn(rung)
                if failures:
                    log.info("celeriac: dispatching again")
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
        self._sweep_from = self._clock() + RENEWED_WITHIN
        if is_demotion(error):
            # The link stays up; it would wait at a server that gets no more events.
            self.service.backend.log.reconnect()

    def stop(self) -> None:
        """Ends `run` after its turn, at most IDLE seconds later."""
        self._stopped.set()

    def hand_back(self) -> None:
        """After the last turn: what is queued here and not claimed becomes due for others."""
        backend = self.service.backend
        for chunk in self._unsent:
            if chunk.id:
                self._fetcher.requeue(chunk.lane, chunk.id)
        for lane in self._lanes:
            self._hand_back(lane)
        backend.registry.depart(self.service.worker)

    def _hand_back(self, lane: Lane) -> None:
        while self.service.backend.ledger.hand_back(self.service.worker, lane):
            pass
        if lane in self._fetcher.groups:
            self._fetcher.hand_back(lane)

    # -- one turn

    def turn(self, rung: Collection[str] | None = None) -> float:
        """Dispatches what can be dispatched; returns the seconds that may pass until the next.

        `rung` names the doors at which somebody rang; None says that there may be something
        behind any.
        """
        now = self._clock()
        self._follow_queues()
        self._join_new_domains()
        self._look_at_circuits()
        self._look_at_workers()
        self._flush_unsent()
        self._ring(rung)
        for domain in self._crowds.behind():
            self._read(domain)
        ready = self._agenda.ready(now)
        fetching = [self._fetcher.groups[lane] for lane in ready if self._is_fetched(lane)]
        self._fetch(now, fetching)
        # What was fetched may have said otherwise.
        fetching = [group for group in fetching if self._is_fetched(group.lane)]
        asks = self._asks(now, ready)
        for ask, taken in zip(asks, self._take(asks), strict=True):
            handler = self._lanes.get(ask.lane)
            if handler is None:  # removed, as was seen in another of its domains
                continue
            if taken.removed:
                self._on_removed(ask.lane, handler)
                continue
            self._note_in_force(ask.lane, handler, taken.patterns)
            if self._is_left_to_others(ask.lane, handler):
                self._agenda.put(ask.lane, now + LOOK_AT_WORKERS)
                continue
            self._mean[ask.lane] = taken.mean_us
            self._flow.still_queued(ask.lane, taken.queued)
            self._queued[ask.lane] = taken.queued + len(taken.deliveries)
            if self._share.note(handler, ask.lane, taken):
                # Its hints that wait would hold every process, one after the other.
                self._give_back(ask.lane)
                self._agenda.put(ask.lane, now)
                continue
            wanted = self._accept(handler, ask, taken)
            group = self._fetcher.groups.get(ask.lane)
            if group is not None and group in fetching:
                group.take_at = now + until_pending(ask, taken)
                continue
            enough = self._has_enough_hints(handler)
            pause = until_asked(ask, taken, wanted, enough, self.processes, self._unrung)
            self._plan(now, ask, taken, pause)
        self._plan_groups(now, fetching)
        self._flush_unsent()
        self._skip()
        self._sources.flush(self.service.backend.ledger)
        ledger, rests = self.service.backend.ledger, self._agenda.rests
        self._agenda.hurry(self._crowds.look(ledger, now, rests, busy=bool(asks)), RUNG)
        if rung is None or now >= self._promote_at or any(d.startswith(f"{BELL} ") for d in rung):
            self._promote_at = now + self._promote(rung)
        if self._janitor.turn(
            self._domains, own=self._records, discover=self._wildcard, newest=self._seen
        ):
            self._looked_for_domains = 0.0
        if self._crowds.behind():
            return 0.0
        return min(IDLE, max(0.0, min(self._agenda.next(), self._promote_at) - now))

    def _ring(self, rung: Collection[str] | None) -> None:
        for group in self._fetcher.groups.values():
            if rung is None or f"{BELL} {group.lane.domain}" in rung:
                group.take_at = NOW
            if rung is None or group.lane.domain in rung:
                group.fetch_at = NOW
        if rung is None:
            self._agenda.ring(None)
            return
        # A bell rings for what is due at once, of whichever lane.
        for domain in [d.rpartition(" ")[2] for d in rung if d.startswith(f"{BELL} ")]:
            if domain in self._crowds:
                self._crowds.ring(domain)
            else:
                self._agenda.ring((domain,))
        for domain in rung:
            if domain in self._crowds:
                self._read(domain)
            else:
                self._agenda.ring((domain,))

    def _read(self, domain: str) -> None:
        log, newest = self.service.backend.log, self._seen[domain]
        self._agenda.hurry(self._crowds.wanting(log, domain, newest), RUNG)

    def _plan(self, now: float, ask: Ask, taken: Taken, pause: float | None) -> None:
        """When to ask for the lane again."""
        has_all = self._crowds.given(ask, taken)
        if pause is not None and not has_all:
            self._agenda.put(ask.lane, now + pause)
        elif self._crowds.waits(ask.lane):
            self._agenda.put(ask.lane, now)
        elif ask.lane.domain in self._crowds:
            self._agenda.rest(ask.lane, NEVER)
        else:
            longest = self._unrung
            if not taken.held and not taken.deliveries:
                # No lease can be over: what another worker takes comes from an entry that rings.
                longest = max(longest, len(self._lanes) / ASKED_UNRUNG)
            self._agenda.rest(ask.lane, now + longest * random.uniform(0.5, 1))

    def _promote(self, rung: Collection[str] | None) -> float:
        """Seconds until it is to be called again."""
        doors = self._domains if rung is None else rung
        promoted = self._promotion(self._domains, {door.rpartition(" ")[2] for door in doors})
        if any(moved for moved, _ in promoted):
            return 0.0
        following = min((at for _, at in promoted if at is not None), default=None)
        return (
            IDLE if following is None else until(following, self.service.backend.registry.now_ms())
        )

    def _take(self, asks: list[Ask]) -> list[Taken]:
        return self.service.backend.ledger.take(self.service.worker, asks)

    # -- chunks

    def _is_fetched(self, lane: Lane) -> bool:
        """Whether what is new for the group comes in chunks, and not delivery by delivery."""
        group, handler = self._fetcher.groups.get(lane), self._lanes.get(lane)
        return (
            group is not None
            and handler is not None
            and {*self._in_force.get(lane, ())} <= {*handler.patterns}
            and not self._retired(handler, lane)
            and self._doors.most(handler.id) is None
            and not self._share.leaves_room(handler, lane)
            and not self._is_left_to_others(lane, handler)
        )

    def _fetch(self, now: float, groups: Sequence[GroupState]) -> None:
        """Fetch a chunk for each of these groups that may have something new."""
        wanted = [group for group in groups if group.fetch_at <= now]
        for one in self._fetcher.fetch(wanted, self._mean):
            group = one.state
            if one.fetched.removed:
                self._on_removed(group.lane, group.handler)
                continue
            self._mean[group.lane] = one.fetched.mean_us
            if self._share.note_run_time(group.handler, group.lane, one.fetched.mean_us):
                self._give_back(group.lane)
            self._note_in_force(group.lane, group.handler, one.fetched.patterns)
            group.fetch_at = now if one.more else math.inf
            if one.fetched.entries:
                self._accept_chunk(one)

    def _plan_groups(self, now: float, groups: Sequence[GroupState]) -> None:
        """When each of them is looked at again."""
        for group in groups:
            if group.fetch_at <= now and not group.has_room(self.processes):
                group.fetch_at = now + BUSY
            at = min(group.take_at, group.fetch_at)
            if at < math.inf:
                self._agenda.put(group.lane, at)
            else:
                longest = max(self._unrung, len(self._lanes) / ASKED_UNRUNG)
                group.fetch_at = now + longest * random.uniform(0.5, 1)
                self._agenda.rest(group.lane, group.fetch_at)

    def _accept_chunk(self, one: FetchedChunk) -> None:
        """Send what was fetched, or report it where nothing of it runs.

        Where entries repeat others, the rest is claimed one by one.
        """
        group, request, entries = one.state, one.request, one.fetched.entries
        sifted = one.sift(self._retired(group.handler, group.lane))
        size = sum(len(entry.body or b"") for entry in entries)
        group.size.note(len(entries), len(sifted.wanted), size)
        self._sources.add(group.lane.domain, sifted.sources)
        if not self._is_fetched(group.lane):
            self._fetcher.requeue(group.lane, request.chunk)
            group.take_at = NOW
            return
        repeated = self._fetcher.repetitions(one, sifted)
        if one.runnable(sifted) and repeated == NONE_REPEATED:
            self._unsent.append(one.chunk(sifted))
        elif self._fetcher.complete(one, sifted, repeated.certain):
            group.take_at = NOW

    # -- pending deliveries

    def _asks(self, now: float, ready: Sequence[Lane]) -> list[Ask]:
        asks = []
        expired = []
        for lane in ready:
            handler = self._lanes[lane]
            swept = self._swept.get(lane, -math.inf) + self.settings.lease * SWEEP
            sweep = now >= max(swept, self._sweep_from)
            if sweep:
                expired.append(lane)
            if self._is_fetched(lane):
                if not sweep and now < self._fetcher.groups[lane].take_at:
                    continue
                ask: Ask | None = self._ask_pending(lane, handler, sweep)
            else:
                ask = self._ask(lane, handler, sweep)
            if ask is None:
                self._agenda.put(lane, now + IDLE)
                continue
            if sweep:
                self._swept[lane] = now
            # What stands in its way is known from other lanes, which are asked for soon.
            if ask.limit == 0:
                self._agenda.hurry(self._flow.lanes(handler.id), now + BUSY)
            if ask.most_held is not None and ask.most_held <= self._share.held(lane):
                self._agenda.hurry(self._share.holding(handler.id), now + BUSY)
            self._new_first ^= {lane}
            asks.append(replace(ask, due_first=lane in self._new_first))
        self.service.backend.chunks.reclaim(expired)
        asks.sort(key=lambda ask: self._share.turn_of(ask.lane))
        return asks

    def _ask_pending(self, lane: Lane, handler: Handler, sweep: bool) -> Ask:
        """For a group whose new entries come in chunks."""
        most = limit(handler, self._mean.get(lane, 0), self.processes, self.settings)
        if lane in self._begun and not sweep:
            most = min(most, self._queued.get(lane, 0) + max(1, self._room_for_hints(handler)))
        return Ask(lane, most, sweep=sweep, most_new=0)

    def _ask(self, lane: Lane, handler: Handler, sweep: bool) -> Ask | None:
        """None where nothing may be taken: not even what is due, which stays where it is."""
        if self._is_left_to_others(lane, handler):
            return Ask(lane, 0, most_new=0)  # tells which patterns are in force
        through = self._doors.most(handler.id)
        if through is not None:
            return Ask(lane, through, sweep=sweep, most_new=through) if through else None
        room = self._share.room(handler, lane)
        held = None if room is None else self._share.held(lane) + room
        most = limit(handler, self._mean.get(lane, 0), self.processes, self.settings)
        if lane in self._begun and not sweep:
            # The last ones needed a task each, and so may the next.
            most = min(most, self._queued.get(lane, 0) + max(1, self._room_for_hints(handler)))
        if not self._has_enough_hints(handler):
            stretch = self._crowds.stretch(lane, handler, most)
            return Ask(lane, most, sweep=sweep, most_held=held, stretch=stretch)
        # Lost hints count as waiting too, so a sweep needs its room to send them anew.
        return Ask(lane, most if sweep else 0, sweep=sweep, most_new=0)

    def _has_enough_hints(self, handler: Handler) -> bool:
        return self._flow.hints(handler.id) >= HINTS_AHEAD * self.processes

    def _accept(self, handler: Handler, ask: Ask, taken: Taken) -> int:
        """Settles what the handler does not want and chunks the rest; returns how many that is."""
        if not taken.deliveries:
            return 0
        lane, given = ask.lane, len(taken.deliveries)
        ledger, worker = self.service.backend.ledger, self.service.worker
        retired = self._retired(handler, lane)
        sifted = sift(handler, taken.deliveries, taken.patterns, retired, domain=lane.domain)
        self._sources.add(lane.domain, sifted.sources)
        for entry in sifted.gone:
            log.error("%s: entry %s was trimmed by another hand; it is lost", lane, entry)
        for entry, error in sifted.invalid:
            ledger.bury_invalid(worker, lane, entry, error)
            log.error("entry %s of %s is no event: %s", entry, lane.domain, error)
        unwanted = sifted.unwanted
        wanted, put_off = run_apart(sifted.wanted, self.settings.lease)
        unwanted += put_off
        if handler.per_second is not None and wanted:
            wanted, put_off = self._within_rate(handler, wanted)
            unwanted += put_off
        wanted, put_off = self._within_tasks(handler, lane, wanted)
        unwanted += put_off
        wanted, put_off = self._within_share(handler, lane, wanted)
        unwanted += put_off
        if unwanted:
            self._unwanted.append((lane, unwanted))
        # All that was asked for came, so there is a backlog.
        more = given >= min(ask.most_new, ask.limit - taken.queued)
        chunks = split(
            handler, lane, wanted, taken.mean_us, self.processes, self.settings, more=more
        )
        if self._share.leaves_room(handler, lane):
            # Counted here, so it has to run here, and not where others are slow already.
            chunks = [replace(chunk, stays=True) for chunk in chunks]
        self._unsent += chunks
        return len(sifted.wanted)

    def _skip(self) -> None:
        """After the hints were sent: nobody waits for it. What is lost here, its lease heals."""
        unwanted, self._unwanted = self._unwanted, []
        self.service.backend.ledger.skip_many(self.service.worker, unwanted)

    def _within_rate(
        self, handler: Handler, wanted: list[Item]
    ) -> tuple[list[Item], list[Settled]]:
        assert handler.per_second is not None
        granted, wait_ms = self.service.backend.ledger.grant(
            handler.id, len(wanted), handler.per_second
        )
        step = 1000 / handler.per_second
        put_off = [item.put_off(int(wait_ms + n * step)) for n, item in enumerate(wanted[granted:])]
        return wanted[:granted], put_off

    def _within_tasks(
        self, handler: Handler, lane: Lane, wanted: list[Item]
    ) -> tuple[list[Item], list[Settled]]:
        """What was begun before needs a task each: no more of it than hints may wait, so that a
        handler that kills its processes does not fill the queue before others."""
        begun = [item for item in wanted if item.attempts]
        if not begun:
            self._begun.discard(lane)
            return wanted, []
        self._begun.add(lane)
        room = max(0, self._room_for_hints(handler))
        late = {item.entry for item in begun[room:]}
        kept = [item for item in wanted if item.entry not in late]
        return kept, [item.put_off(0) for item in begun[room:]]

    def _room_for_hints(self, handler: Handler) -> int:
        unsent = sum(chunk.handler.id == handler.id for chunk in self._unsent if not chunk.id)
        return HINTS_AHEAD * self.processes - self._flow.hints(handler.id) - unsent

    def _within_share(
        self, handler: Handler, lane: Lane, wanted: list[Item]
    ) -> tuple[list[Item], list[Settled]]:
        """Several slow handlers were asked for at once, each for all the room that there is."""
        room = self._share.room(handler, lane)
        if room is None:
            return wanted, []
        put_off = [item.put_off(PUT_OFF_FOR_OTHERS_MS) for item in wanted[room:]]
        self._share.took(lane, len(wanted[:room]))
        return wanted[:room], put_off

    def _look_at_workers(self) -> None:
        now, own = self._clock(), self.service.worker
        if self._looked_at_workers is not None and now - self._looked_at_workers < LOOK_AT_WORKERS:
            return
        self._looked_at_workers = now
        handlers = [handler.id for handler in self.handlers]
        workers = self.service.backend.registry.workers()
        spare = self.settings.spare_processes
        self._share.processes = processes_for_slow(workers, (own, self.processes), handlers, spare)
        if self._has_pool:
            self._share.here = max(0, self.processes - spare)
        self._report_unserved(workers)

    def _report_unserved(self, workers: Iterable[WorkerRecord]) -> None:
        consumed = self._consumed
        elsewhere = [h for h in self._in_code if consumed is not None and h.queue not in consumed]
        if not elsewhere:
            return
        now_ms = self.service.backend.registry.now_ms()
        for handler in self._unserved.look(elsewhere, workers, now_ms):
            log.warning(
                "no living worker runs %s, and this one does not consume its queue %s: its events "
                "wait in the log. Start a worker with -Q %s, or add the queue here: celery -A "
                "<module> control add_consumer %s",
                handler.id,
                *[handler.queue] * 3,
            )

    # -- queues

    def _follow_queues(self) -> None:
        """Serves the handlers of a queue that was added, and leaves those of one that was cancelled
        to other workers."""
        if self._queues is None:
            return
        consumed = frozenset(self._queues())
        if consumed == self._consumed:
            return
        before, after = self.handlers, served_handlers(self._in_code, consumed, self._removed)
        served = {handler.id for handler in after}
        for lane in self._lanes:
            if lane.handler not in served:
                self._give_back(lane)
        # From here on nothing is asked of Redis: a turn that fails above is repeated as a whole.
        self._consumed, self.handlers = consumed, after
        self._wildcard = any(h.matcher.domains is None for h in after)
        self._keep_lanes({lane for lane in self._lanes if lane.handler in served})
        self._records = {name: one for name, one in self._records.items() if name in served}
        # Asked for in the order of their urgency, as at the start.
        self._agenda.keep(())
        self._joined, self._looked_at_workers = False, None
        self._janitor.beat_soon()
        for handler in before:
            if handler not in after:
                log.info("celeriac: %s runs here no longer (queue %s)", handler.id, handler.queue)
        for handler in after:
            if handler not in before:
                log.info("celeriac: %s runs here now, from queue %s", handler.id, handler.queue)

    def _give_back(self, lane: Lane) -> None:
        """What is queued here becomes due, with the attempts it had; its hints find nothing."""
        for chunk in self._unsent:
            if chunk.id and chunk.lane == lane:
                self._fetcher.requeue(lane, chunk.id)
        self._unsent = [chunk for chunk in self._unsent if chunk.lane != lane]
        self._hand_back(lane)

    def _flush_unsent(self) -> None:
        # A hint that the broker did not take is kept and sent at the next turn: no lease is lost.
        while self._unsent:
            self._send(self._unsent[0])
            chunk = self._unsent.pop(0)
            if not chunk.id:
                self._flow.sent(chunk.lane, len(chunk.items))
            self._doors.sent(chunk.handler.id)

    # -- circuits

    def _look_at_circuits(self) -> None:
        """What is queued for a handler that was shut goes back: its hints find nothing to claim."""
        lease_ms, service = int(self.settings.lease * 1000), self.service
        for shut in self._doors.look(
            service.backend, service.worker, self.handlers, lease_ms, self._clock()
        ):
            log.warning("%s is paused: see `celeriac handlers`; its events wait in the log", shut)
            for lane in self._lanes:
                if lane.handler == shut:
                    self._give_back(lane)

    # -- domains and groups

    def _join_new_domains(self) -> None:
        now = self._clock()
        pause = max(IDLE, len(self._offered) / DOMAINS_LOOKED_FOR)
        if self._joined and now - self._looked_for_domains < pause:
            return
        self._looked_for_domains = now
        backend = self.service.backend
        domains = backend.log.domains() if self._wildcard else frozenset()
        self._drop_forgotten(self._offered - domains)
        if self._joined and domains <= self._offered:
            return
        records = join(backend, self.handlers, domains, self._lanes, self._records)
        self._records = {record.id: record for record in records}
        for handler in self.handlers:
            if handler.id not in self._records:
                self._drop_removed(handler)
        # Not `_domains`: what this very join announced was not offered to wildcards yet.
        self._offered = domains
        for handler in self.handlers:
            for domain in self._records[handler.id].since:
                self._serve(domain, handler)
        self._serve_groups()
        self._domains = frozenset(lane.domain for lane in self._lanes) | domains
        self._joined = True

    def _serve_groups(self) -> None:
        self._crowds.serve(self._lanes)
        crowded = {lane.domain for lane in self._lanes if lane.domain in self._crowds}
        self._fetcher.serve(self._lanes, crowded)

    def _serve(self, domain: str, handler: Handler) -> None:
        lane = handler.lane(domain)
        if lane not in self._lanes:
            self._note_patterns(lane, handler)
        self._lanes[lane] = handler
        self._agenda.add(lane)
        self._seen.setdefault(domain, "0-0")
        self._seen.setdefault(f"{BELL} {domain}", "0-0")

    # -- other versions of the handlers

    def _note_patterns(self, lane: Lane, handler: Handler) -> None:
        self._in_force[lane] = self.service.backend.ledger.note_patterns(lane, handler.patterns)

    def _note_in_force(self, lane: Lane, handler: Handler, patterns: tuple[str, ...]) -> None:
        """What `take` said; those of this code that are not among them are put in force again."""
        before = self._in_force.get(lane)
        if before == patterns:
            return
        if not {*handler.patterns} <= {*patterns}:
            self._note_patterns(lane, handler)
            return
        self._in_force[lane] = patterns
        if before and not {*before} <= {*patterns}:
            self._records |= self.service.backend.registry.registered([handler.id])

    def _retired(self, handler: Handler, lane: Lane) -> Mapping[str, int]:
        record = self._records.get(handler.id)
        if record is None or not record.retired:
            return {}
        return {
            p: at for p, at in record.retired.items() if literal_domain(p) in (None, lane.domain)
        }

    def _is_left_to_others(self, lane: Lane, handler: Handler) -> bool:
        """Whether only other versions of the handler subscribe to the domain."""
        domains = handler.matcher.domains
        if domains is None or lane.domain in domains:
            return False
        others = {*self._in_force.get(lane, ())} - {*handler.patterns}
        return any(literal_domain(pattern) in (None, lane.domain) for pattern in others)

    def _drop_forgotten(self, domains: Collection[str]) -> None:
        """Stops serving domains that were removed because they were empty, but for those that a
        handler names."""
        gone = frozenset(domains) & self.service.backend.log.forgotten() if domains else ()
        if not gone:
            return
        self._offered -= gone
        self._domains -= gone
        dropped = {k for k, h in self._lanes.items() if k.domain in gone and not _names(h, k)}
        leave_domains(self.service.backend, {self._lanes[lane].id for lane in dropped}, gone)
        for name, record in self._records.items():
            self._records[name] = without_domains(record, gone)
        self._keep_lanes(self._lanes.keys() - dropped)

    def _keep_lanes(self, kept: Collection[Lane]) -> None:
        """Forgets all other lanes, and the doorbells of domains that have none left."""
        for lane in self._lanes.keys() - kept:
            self._flow.still_queued(lane, 0)
            self._share.drop(lane)
        silent = {lane.domain for lane in self._lanes} - {lane.domain for lane in kept}
        self._lanes = {k: h for k, h in self._lanes.items() if k in kept}
        for domain in silent:
            self._seen.pop(domain, None)
            self._seen.pop(f"{BELL} {domain}", None)
        self._swept = {k: at for k, at in self._swept.items() if k in self._lanes}
        self._begun &= self._lanes.keys()
        self._queued = {k: n for k, n in self._queued.items() if k in self._lanes}
        self._in_force = {k: some for k, some in self._in_force.items() if k in self._lanes}
        self._mean = {k: us for k, us in self._mean.items() if k in self._lanes}
        self._agenda.keep(self._lanes)
        self._serve_groups()

    def _on_removed(self, lane: Lane, handler: Handler) -> None:
        if not _names(handler, lane) and lane.domain in self.service.backend.log.forgotten():
            self._drop_forgotten({lane.domain})
            return
        record = rejoin(self.service.backend, handler, lane.domain)
        if record is None:
            self._drop_removed(handler)
        else:
            self._records[handler.id] = record
            log.warning("%s: its group on %s was gone; joined again", handler.id, lane.domain)

    def _drop_removed(self, handler: Handler) -> None:
        log.warning(
            "%s was removed by an operator; this worker stops serving it. Restart the worker "
            "to register it anew",
            handler.id,
        )
        self._removed.add(handler.id)
        self.handlers = [h for h in self.handlers if h.id != handler.id]
        self._records.pop(handler.id, None)
        self._keep_lanes({k for k, h in self._lanes.items() if h.id != handler.id})
        self._agenda.ring(None)  # where no crowd is left, nobody looks at what rests

    # -- the doorbell

    def _wait(self, seconds: float) -> Collection[str] | None:
        """The doors at which somebody rang within the time; None where there is no door yet."""
        if self._stopped.is_set():
            return ()
        if not self._seen:
            self._stopped.wait(seconds)
            return None
        if seconds <= BUSY:
            self._stopped.wait(seconds)
            seconds = 0.0
        began = self._clock()
        before, self._seen = self._seen, dict(self.service.backend.log.wait(self._seen, seconds))
        if self._clock() - began > min(seconds, LONGEST_WAIT_MS / 1000) + STALLED:
            # It was busy or frozen. A read that waits is not refused meanwhile, as renewals are.
            self._sweep_from = self._clock() + RENEWED_WITHIN
        return [door for door, entry in self._seen.items() if before[door] != entry]


def _names(handler: Handler, lane: Lane) -> bool:
    """Whether a pattern of the handler names the domain: then it is read even if empty."""
    return any(pattern.partition(".")[0] == lane.domain for pattern in handler.patterns)
