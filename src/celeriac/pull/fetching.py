"""Fetch deliveries of one handler for a client, with the filter and the delays of a dispatcher."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from celeriac.delivery import Completion, FetchRequest, FetchResult, Group
from celeriac.dispatcher.chunk import Item
from celeriac.dispatcher.circuits import REFRESH_INTERVAL
from celeriac.dispatcher.groups import rejoin
from celeriac.dispatcher.lost_run_delay import delay_lost_runs
from celeriac.dispatcher.message_filter import filter_deliveries
from celeriac.dispatcher.pending import RECLAIM_INTERVAL
from celeriac.dispatcher.poll_interval import BUSY
from celeriac.pull.claiming import claim_deliveries
from celeriac.pull.pull_state import MAX_READ, PullState
from celeriac.pull.pulled import MAX_POLL_INTERVAL, AnswerBudget, Pulled, PulledDelivery

logger = logging.getLogger(__name__)

MAX_ROUNDS = 50  # fetches of one call: among entries that the handler does not want
FULL_INTERVAL = 0.1  # seconds between polls while the concurrency limit is reached


@dataclass(slots=True)
class AvailableSlots:
    """How many more deliveries of a handler may be in flight, and how many are, by group."""

    available: int
    in_flight: dict[Group, int]


class Fetcher:
    """Thread-safe: requests for one handler wait for each other. Raises redis.RedisError."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def fetch(self, state: PullState, limit: int) -> Pulled:
        """Return up to `limit` deliveries, whose attempts begin now. Blocks for round trips."""
        with state.lock:
            allowed = self._allowed_by_circuit(state)
            if allowed == 0:
                return Pulled((), REFRESH_INTERVAL)
            if wait_ms := self._until_rate(state):
                return Pulled((), min(MAX_POLL_INTERVAL, max(BUSY, wait_ms / 1000)))
            budget = AnswerBudget(limit if allowed is None else min(limit, allowed))
            self._requeue_interrupted(state)
            state.was_interrupted = True
            pulled = self._fetch_groups(state, budget)
            state.was_interrupted = False
            if pulled:
                state.circuits.sent(state.id)
            state.context.sources.flush(state.context.service.backend.deliveries)
            return Pulled(tuple(pulled), budget.next_poll)

    def _allowed_by_circuit(self, state: PullState) -> int | None:
        backend, now = state.context.service.backend, self._clock()
        state.circuits.refresh(backend, state.context.worker, state.handlers, state.lease_ms, now)
        return state.circuits.limit(state.id)

    def _requeue_interrupted(self, state: PullState) -> None:
        """Requeue deliveries that a failed fetch queued: they would wait for the end of the lease,
        and count as queued by this process."""
        if not state.was_interrupted:
            return
        for group in state.rotated_groups():
            deliveries = state.context.service.backend.deliveries
            while deliveries.requeue(state.context.worker, group):
                pass

    def _until_rate(self, state: PullState) -> int:
        """Return the ms until the rate allows a delivery. Until then nothing is read: each entry
        would only be scheduled."""
        rate = state.handler.per_second
        deliveries = state.context.service.backend.deliveries
        return 0 if rate is None else deliveries.rate_wait_ms(state.id, rate)

    def _fetch_groups(self, state: PullState, budget: AnswerBudget) -> list[PulledDelivery]:
        now, pulled = self._clock(), list[PulledDelivery]()
        groups = state.rotated_groups()
        if now >= state.reclaimed_at + state.lease * RECLAIM_INTERVAL:
            state.reclaimed_at = now
            # Of the time before the handler was fetched over HTTP, if it ran in workers.
            state.context.service.backend.chunks.reclaim(groups)
        budget.poll_within(state.lease * RECLAIM_INTERVAL)
        slots = self._slots_of(state, groups)
        waiting = [(group, True) for group in groups]
        for _ in range(MAX_ROUNDS):
            if not waiting or budget.remaining <= 0:
                return pulled
            # Each group at once would fetch more than the client wants.
            width = 1 if slots is not None else min(budget.remaining, len(waiting))
            batch, waiting = waiting[:width], waiting[width:]
            share = budget.remaining // width
            if state.handler.per_second is not None:
                share = min(share, max(1, math.ceil(state.handler.per_second)))
            requests = [
                self._request(state, group, share, slots, reclaim) for group, reclaim in batch
            ]
            worker = state.context.worker
            answers = state.context.service.backend.deliveries.fetch(worker, requests)
            for request, result in zip(requests, answers, strict=True):
                accepted = self._accept(state, request, result, budget)
                pulled += accepted
                if slots is not None:
                    slots.available -= len(accepted)
                    slots.in_flight[request.group] = result.in_flight + len(accepted)
                if result.deliveries:
                    # There may be more, and entries that the handler does not want come first.
                    waiting.append((request.group, False))
        budget.poll_within(0)
        return pulled

    def _slots_of(self, state: PullState, groups: Sequence[Group]) -> AvailableSlots | None:
        """Return the available slots of a handler with a concurrency limit over all its domains."""
        limit = state.handler.concurrency
        if limit is None:
            return None
        requests = [FetchRequest(group, 0, max_new=0) for group in groups]
        deliveries = state.context.service.backend.deliveries
        answers = deliveries.fetch(state.context.worker, requests)
        in_flight = {
            request.group: result.in_flight
            for request, result in zip(requests, answers, strict=True)
        }
        return AvailableSlots(max(0, limit - sum(in_flight.values())), in_flight)

    def _request(
        self,
        state: PullState,
        group: Group,
        share: int,
        slots: AvailableSlots | None,
        reclaim: bool,
    ) -> FetchRequest:
        size = state.size(group)
        count = min(MAX_READ, max(share, math.ceil(share / size.wanted_share)))
        max_in_flight = None
        if slots is not None:
            max_in_flight = slots.in_flight[group] + max(0, slots.available)
        return FetchRequest(
            group,
            count,
            reclaim=reclaim,
            max_in_flight=max_in_flight,
            lease_ms=state.lease_ms,
        )

    def _accept(
        self, state: PullState, request: FetchRequest, result: FetchResult, budget: AnswerBudget
    ) -> list[PulledDelivery]:
        """Claim the deliveries that the handler wants; complete or requeue the others."""
        context, group = state.context, request.group
        backend, worker = context.service.backend, context.worker
        if result.removed:
            # Redis lost the group, or an operator is removing the handler: see the next request.
            rejoin(backend, state.handler, group.domain)
            budget.poll_within(0)
            return []
        full, in_flight = request.max_in_flight, result.in_flight + len(result.deliveries)
        if full is not None and in_flight >= full:
            # A completion does not cause a wakeup, and due deliveries stay due.
            budget.poll_within(FULL_INTERVAL)
        elif result.next_due_ms is not None:
            budget.poll_within((result.next_due_ms - result.now_ms) / 1000)
        if not result.deliveries:
            return []
        filtered = filter_deliveries(
            state.handler,
            result.deliveries,
            result.patterns,
            state.retired(group.domain),
            domain=group.domain,
        )
        bodies = {given.entry: given.body or b"" for given in result.deliveries}
        state.size(group).note(
            len(result.deliveries), len(filtered.wanted), sum(map(len, bodies.values()))
        )
        context.sources.add(group.domain, filtered.sources)
        for entry in filtered.gone:
            logger.error(
                "%s: entry %s was deleted outside celeriac; this delivery is lost", group, entry
            )
        for entry, error in filtered.invalid:
            backend.deliveries.dead_letter_invalid(worker, group, entry, error)
            logger.error("entry %s of %s is not a valid event: %s", entry, group.domain, error)
        wanted, later = delay_lost_runs(filtered.wanted, state.lease)
        wanted, over_rate = self._within_rate(state, wanted)
        fitting = budget.fit(wanted, bodies)
        surplus = [item.requeued(0) for item in wanted[fitting:]]
        unwanted = [*filtered.unwanted, *later, *over_rate, *surplus]
        if unwanted:
            backend.deliveries.skip_many(worker, [(group, unwanted)])
        return claim_deliveries(state, group, wanted[:fitting], result.now_ms)

    def _within_rate(
        self, state: PullState, wanted: list[Item]
    ) -> tuple[list[Item], list[Completion]]:
        rate = state.handler.per_second
        if rate is None or not wanted:
            return wanted, []
        deliveries = state.context.service.backend.deliveries
        granted, wait_ms = deliveries.grant(state.id, len(wanted), rate)
        step = 1000 / rate
        requeued = [
            item.requeued(int(wait_ms + n * step)) for n, item in enumerate(wanted[granted:])
        ]
        return wanted[:granted], requeued
