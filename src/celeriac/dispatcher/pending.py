"""Fetch deliveries one by one: pending ones, and new ones of groups without chunks. New deliveries
in chunks are in new_deliveries.py."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from celeriac.delivery import Completion, FetchRequest, FetchResult, Group
from celeriac.dispatcher.chunk import Item, first_calls, limit, split
from celeriac.dispatcher.context import DispatcherContext
from celeriac.dispatcher.group_state import NEVER, NOW, UNKNOWN, GroupState, until_pending
from celeriac.dispatcher.group_table import idle, poll_at, poll_soon
from celeriac.dispatcher.lost_run_delay import delay_lost_runs
from celeriac.dispatcher.message_filter import filter_deliveries
from celeriac.dispatcher.poll_interval import BUSY, IDLE, until_next_fetch
from celeriac.dispatcher.process_share import REQUEUE_FOR_OTHERS_MS
from celeriac.dispatcher.task_sender import note_queued
from celeriac.handler import Handler
from celeriac.service import Service

logger = logging.getLogger(__name__)

WORKERS_INTERVAL = 5.0  # seconds between reads of the workers that serve the handlers
RECLAIM_INTERVAL = 0.1  # of a lease: how often expired leases are reclaimed


class PendingDeliveries:
    """The pending deliveries of one dispatcher. It reclaims no lease before `reclaim_from`.

    Methods that block, block for round trips and raise redis.RedisError.
    """

    def __init__(self, context: DispatcherContext, service: Service) -> None:
        self._context, self._service = context, service
        self._unwanted: list[tuple[Group, list[Completion]]] = []
        self.reclaim_from = NOW

    def fetch(self, now: float, ready: Sequence[GroupState], fetched: Collection[Group]) -> None:
        """Fetch pending deliveries, and new ones of groups without chunks."""
        requests = self._requests(now, ready, fetched)
        answers = self._service.backend.deliveries.fetch(self._service.worker, requests)
        for request, result in zip(requests, answers, strict=True):
            state = self._context.groups.get(request.group)
            if state is None:  # removed, as detected in another of its domains
                continue
            if result.removed:
                self._context.members.join_again([state])
            else:
                self._note_fetched(now, state, request, result, is_fetched=state.group in fetched)

    def _note_fetched(
        self,
        now: float,
        state: GroupState,
        request: FetchRequest,
        result: FetchResult,
        *,
        is_fetched: bool,
    ) -> None:
        self._context.members.note_in_force(state, result.patterns)
        if self._context.members.is_left_to_others(state):
            poll_at(state, now + WORKERS_INTERVAL)
            return
        note_queued(state, result.queued)
        state.queued = result.queued + len(result.deliveries)
        if self._context.share.note(state, result):
            # Its waiting tasks would occupy every process, one after the other.
            self._context.requeue(state)
            poll_at(state, now)
            return
        wanted = self._accept(state, request, result)
        if is_fetched:
            state.pending_at = now + until_pending(request, result)
            return
        if (
            state.group.domain in self._context.reader
            and result.is_at_end
            and self._context.members.may_share(state)
        ):
            state.position = UNKNOWN
            self._context.reader.note_fetched([state], at_end=True)
        enough = self._context.tasks.has_enough(state)
        pause = until_next_fetch(
            request,
            result,
            wanted,
            enough,
            self._context.processes,
            self._context.poll_interval,
            new=not state.is_shared,
        )
        if pause is not None:
            poll_at(state, now + pause)
        elif state.is_shared:
            idle(state, NEVER)
        else:
            # Without these no lease can expire: deliveries of another worker begin with an entry
            # that wakes.
            may_expire = result.in_flight > 0 or bool(result.deliveries)
            idle(
                state,
                now
                + self._context.groups.idle_time(
                    self._context.poll_interval, may_expire=may_expire
                ),
            )

    def _requests(
        self, now: float, ready: Sequence[GroupState], fetched: Collection[Group]
    ) -> list[FetchRequest]:
        """Return what to fetch for the groups, the longest waiting first.

        For groups in `fetched`, requests only pending deliveries. Reclaims chunks whose lease
        expired.
        """
        requests = []
        expired = []
        for state in ready:
            group = state.group
            if group not in self._context.groups:
                continue
            reclaim_at = state.reclaimed_at + self._service.settings.lease * RECLAIM_INTERVAL
            reclaim = now >= max(reclaim_at, self.reclaim_from)
            if reclaim:
                expired.append(group)
            if group in fetched:
                if not reclaim and now < state.pending_at:
                    continue
                request: FetchRequest | None = self._pending_request(state, reclaim)
            else:
                request = self._request(state, reclaim)
            if request is None:
                poll_at(state, now + IDLE)
                continue
            if reclaim:
                state.reclaimed_at = now
            # Other groups limit this one. They are polled soon to detect when that changes.
            if request.limit == 0:
                poll_soon((group for group in state.of.groups if group.sent), now + BUSY)
            if (
                request.max_in_flight is not None
                and request.max_in_flight <= state.in_flight.everywhere
            ):
                poll_soon(self._context.share.holding(state.of), now + BUSY)
            state.is_new_first = not state.is_new_first
            requests.append(replace(request, scheduled_first=state.is_new_first))
        self._service.backend.chunks.reclaim(expired)
        requests.sort(
            key=lambda request: self._context.share.turn_of(self._context.groups[request.group])
        )
        return requests

    def _pending_request(self, state: GroupState, reclaim: bool) -> FetchRequest:
        """Return the request for a group whose new entries arrive in chunks."""
        max_queued = limit(
            state.handler, state.mean_us, self._context.processes, self._service.settings
        )
        if state.has_begun and not reclaim:
            max_queued = min(
                max_queued, state.queued + max(1, self._context.tasks.available_tasks(state))
            )
        return FetchRequest(state.group, max_queued, reclaim=reclaim, max_new=0)

    def _request(self, state: GroupState, reclaim: bool) -> FetchRequest | None:
        """Return None if nothing may be fetched, including scheduled deliveries."""
        group, handler = state.group, state.handler
        if self._context.members.is_left_to_others(state):
            return FetchRequest(group, 0, max_new=0)  # only reads the patterns in force
        through = self._context.circuits.limit(handler.id)
        if through is not None:
            new = 0 if state.is_shared else through
            return FetchRequest(group, through, reclaim=reclaim, max_new=new) if through else None
        slots = self._context.share.available_slots(state)
        max_in_flight = None if slots is None else state.in_flight.everywhere + slots
        max_queued = limit(handler, state.mean_us, self._context.processes, self._service.settings)
        if state.has_begun and not reclaim:
            # The last deliveries needed a task each, and the next ones may too.
            max_queued = min(
                max_queued, state.queued + max(1, self._context.tasks.available_tasks(state))
            )
        if self._context.tasks.has_enough(state):
            # Deliveries of lost tasks count as queued, so reclaiming needs the full limit.
            allowed = max_queued if reclaim else 0
            return FetchRequest(group, allowed, reclaim=reclaim, max_new=0)
        request = FetchRequest(group, max_queued, reclaim=reclaim, max_in_flight=max_in_flight)
        # New entries of a shared domain are read for all of its groups together.
        return replace(request, max_new=0) if state.is_shared else request

    def _accept(self, state: GroupState, request: FetchRequest, result: FetchResult) -> int:
        """Send tasks for the deliveries that the handler wants; return how many those are."""
        if not result.deliveries:
            return 0
        handler, group, given = state.handler, request.group, len(result.deliveries)
        deliveries, worker = self._service.backend.deliveries, self._service.worker
        retired = self._context.members.retired(state)
        filtered = filter_deliveries(
            handler, result.deliveries, result.patterns, retired, domain=group.domain
        )
        self._context.sources.add(group.domain, filtered.sources)
        for entry in filtered.gone:
            logger.error(
                "%s: entry %s was deleted outside celeriac; this delivery is lost", group, entry
            )
        for entry, error in filtered.invalid:
            deliveries.dead_letter_invalid(worker, group, entry, error)
            logger.error("entry %s of %s is not a valid event: %s", entry, group.domain, error)
        unwanted = filtered.unwanted
        wanted, requeued = delay_lost_runs(filtered.wanted, self._service.settings.lease)
        unwanted += requeued
        if handler.per_second is not None and wanted:
            wanted, requeued = self._within_rate(handler, wanted)
            unwanted += requeued
        wanted, requeued = self._within_tasks(state, wanted)
        unwanted += requeued
        wanted, requeued = self._within_share(state, wanted)
        unwanted += requeued
        if unwanted:
            self._unwanted.append((group, unwanted))
        # As many as requested arrived, so there is a backlog.
        more = given >= min(request.max_new, request.limit - result.queued)
        chunks = split(
            handler,
            group,
            wanted,
            result.mean_us,
            self._context.processes,
            self._service.settings,
            more=more,
        )
        if self._context.share.reserves_processes(state):
            # It uses a slot of this worker, so it must run here, not where others are slow already.
            chunks = [replace(chunk, stays=True) for chunk in chunks]
        self._context.tasks.add(chunks)
        return len(filtered.wanted)

    def skip(self) -> None:
        """Complete unwanted deliveries. Runs last: if it fails, lease expiry recovers them."""
        unwanted, self._unwanted = self._unwanted, []
        self._service.backend.deliveries.skip_many(self._service.worker, unwanted)

    def _within_rate(
        self, handler: Handler, wanted: list[Item]
    ) -> tuple[list[Item], list[Completion]]:
        assert handler.per_second is not None
        granted, wait_ms = self._service.backend.deliveries.grant(
            handler.id, len(wanted), handler.per_second
        )
        step = 1000 / handler.per_second
        requeued = [
            item.requeued(int(wait_ms + n * step)) for n, item in enumerate(wanted[granted:])
        ]
        return wanted[:granted], requeued

    def _within_tasks(
        self, state: GroupState, wanted: list[Item]
    ) -> tuple[list[Item], list[Completion]]:
        """Limit deliveries that were begun before, which need a task each, to the allowed tasks.

        So a handler that ends its processes does not fill the queue before others.
        """
        begun = [item for item in wanted if item.attempts]
        if not begun:
            state.has_begun = False
            return wanted, []
        state.has_begun = True
        slots = max(0, self._context.tasks.available_tasks(state))
        late = {item.entry for item in begun[slots:]}
        kept = [item for item in wanted if item.entry not in late]
        return kept, [item.requeued(0) for item in begun[slots:]]

    def _within_share(
        self, state: GroupState, wanted: list[Item]
    ) -> tuple[list[Item], list[Completion]]:
        """Limit deliveries to the available slots: several slow handlers were fetched at once, each
        for all slots."""
        slots = self._context.share.available_slots(state)
        if slots is None:
            return wanted, []
        kept, others = first_calls(wanted, slots)
        requeued = [item.requeued(REQUEUE_FOR_OTHERS_MS) for item in others]
        self._context.share.took(state, len(kept))
        return kept, requeued
