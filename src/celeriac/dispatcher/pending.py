"""Deliveries that are taken one by one: pending ones, and new ones where no chunk is fetched."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from celeriac.delivery import Completion, FetchRequest, FetchResult, Group
from celeriac.delivery.sources import Sources
from celeriac.dispatcher.apart import run_apart
from celeriac.dispatcher.chunk import Item, first_calls, limit, split
from celeriac.dispatcher.circuits import Doors
from celeriac.dispatcher.group_state import NOW, GroupState
from celeriac.dispatcher.group_table import GroupTable, look_at, look_soon
from celeriac.dispatcher.membership import Membership
from celeriac.dispatcher.pause import BUSY, IDLE
from celeriac.dispatcher.share import PUT_OFF_FOR_OTHERS_MS, Share
from celeriac.dispatcher.sift import sift
from celeriac.dispatcher.task_sender import TaskSender
from celeriac.handler import Handler
from celeriac.service import Service

logger = logging.getLogger(__name__)

RECLAIM_INTERVAL = 0.1  # of a lease: how often leases that are over are looked for


class PendingDeliveries:
    """Of one dispatcher. No lease is taken over before `sweep_from`."""

    def __init__(
        self,
        service: Service,
        processes: int,
        groups: GroupTable,
        members: Membership,
        share: Share,
        doors: Doors,
        tasks: TaskSender,
        sources: Sources,
    ) -> None:
        self._service, self._processes, self._groups = service, processes, groups
        self._members, self._share, self._doors = members, share, doors
        self._tasks, self._sources = tasks, sources
        self._unwanted: list[tuple[Group, list[Completion]]] = []
        self.sweep_from = NOW

    def requests(
        self, now: float, ready: Sequence[GroupState], fetched: Collection[Group]
    ) -> list[FetchRequest]:
        """Return what to take for the groups, those that wait longest first, and for those that are
        `fetched` only pending deliveries. Reclaims chunks whose lease expired."""
        requests = []
        expired = []
        for state in ready:
            group = state.group
            if group not in self._groups:
                continue
            swept = state.swept_at + self._service.settings.lease * RECLAIM_INTERVAL
            reclaim = now >= max(swept, self.sweep_from)
            if reclaim:
                expired.append(group)
            if group in fetched:
                if not reclaim and now < state.take_at:
                    continue
                ask: FetchRequest | None = self._ask_pending(state, reclaim)
            else:
                ask = self._ask(state, reclaim)
            if ask is None:
                look_at(state, now + IDLE)
                continue
            if reclaim:
                state.swept_at = now
            # What stands in its way is known from other lanes, which are asked for soon.
            if ask.limit == 0:
                look_soon((one for one in state.of.groups if one.sent), now + BUSY)
            if ask.max_in_flight is not None and ask.max_in_flight <= state.held.everywhere:
                look_soon(self._share.holding(state.of), now + BUSY)
            state.is_new_first = not state.is_new_first
            requests.append(replace(ask, scheduled_first=state.is_new_first))
        self._service.backend.chunks.reclaim(expired)
        requests.sort(key=lambda ask: self._share.turn_of(self._groups[ask.group]))
        return requests

    def _ask_pending(self, state: GroupState, reclaim: bool) -> FetchRequest:
        """For a group whose new entries come in chunks."""
        most = limit(state.handler, state.mean_us, self._processes, self._service.settings)
        if state.has_begun and not reclaim:
            most = min(most, state.queued + max(1, self._tasks.room(state)))
        return FetchRequest(state.group, most, reclaim=reclaim, max_new=0)

    def _ask(self, state: GroupState, reclaim: bool) -> FetchRequest | None:
        """None where nothing may be taken: not even what is due, which stays where it is."""
        group, handler = state.group, state.handler
        if self._members.is_left_to_others(state):
            return FetchRequest(group, 0, max_new=0)  # tells which patterns are in force
        through = self._doors.most(handler.id)
        if through is not None:
            new = 0 if state.is_together else through
            return FetchRequest(group, through, reclaim=reclaim, max_new=new) if through else None
        room = self._share.room(state)
        held = None if room is None else state.held.everywhere + room
        most = limit(handler, state.mean_us, self._processes, self._service.settings)
        if state.has_begun and not reclaim:
            # The last ones needed a task each, and so may the next.
            most = min(most, state.queued + max(1, self._tasks.room(state)))
        if self._tasks.has_enough(state):
            # Lost hints count as waiting too, so a sweep needs its room to send them anew.
            return FetchRequest(group, most if reclaim else 0, reclaim=reclaim, max_new=0)
        if state.is_together:
            # What is new is read for all of them.
            return FetchRequest(group, most, reclaim=reclaim, max_in_flight=held, max_new=0)
        return FetchRequest(group, most, reclaim=reclaim, max_in_flight=held)

    def accept(self, state: GroupState, ask: FetchRequest, taken: FetchResult) -> int:
        """Send a task for what the handler wants; return how many deliveries that is."""
        if not taken.deliveries:
            return 0
        handler, group, given = state.handler, ask.group, len(taken.deliveries)
        deliveries, worker = self._service.backend.deliveries, self._service.worker
        retired = self._members.retired(state)
        sifted = sift(handler, taken.deliveries, taken.patterns, retired, domain=group.domain)
        self._sources.add(group.domain, sifted.sources)
        for entry in sifted.gone:
            logger.error("%s: entry %s was trimmed by another hand; it is lost", group, entry)
        for entry, error in sifted.invalid:
            deliveries.dead_letter_invalid(worker, group, entry, error)
            logger.error("entry %s of %s is no event: %s", entry, group.domain, error)
        unwanted = sifted.unwanted
        wanted, put_off = run_apart(sifted.wanted, self._service.settings.lease)
        unwanted += put_off
        if handler.per_second is not None and wanted:
            wanted, put_off = self._within_rate(handler, wanted)
            unwanted += put_off
        wanted, put_off = self._within_tasks(state, wanted)
        unwanted += put_off
        wanted, put_off = self._within_share(state, wanted)
        unwanted += put_off
        if unwanted:
            self._unwanted.append((group, unwanted))
        # All that was asked for came, so there is a backlog.
        more = given >= min(ask.max_new, ask.limit - taken.queued)
        chunks = split(
            handler,
            group,
            wanted,
            taken.mean_us,
            self._processes,
            self._service.settings,
            more=more,
        )
        if self._share.leaves_room(state):
            # Counted here, so it has to run here, and not where others are slow already.
            chunks = [replace(chunk, stays=True) for chunk in chunks]
        self._tasks.add(chunks)
        return len(sifted.wanted)

    def skip(self) -> None:
        """Settle what handlers do not want. Runs last: if it fails, lease expiry recovers it."""
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
        put_off = [item.put_off(int(wait_ms + n * step)) for n, item in enumerate(wanted[granted:])]
        return wanted[:granted], put_off

    def _within_tasks(
        self, state: GroupState, wanted: list[Item]
    ) -> tuple[list[Item], list[Completion]]:
        """What was begun before needs a task each: no more of it than hints may wait, so that a
        handler that kills its processes does not fill the queue before others."""
        begun = [item for item in wanted if item.attempts]
        if not begun:
            state.has_begun = False
            return wanted, []
        state.has_begun = True
        room = max(0, self._tasks.room(state))
        late = {item.entry for item in begun[room:]}
        kept = [item for item in wanted if item.entry not in late]
        return kept, [item.put_off(0) for item in begun[room:]]

    def _within_share(
        self, state: GroupState, wanted: list[Item]
    ) -> tuple[list[Item], list[Completion]]:
        """Several slow handlers were asked for at once, each for all the room that there is."""
        room = self._share.room(state)
        if room is None:
            return wanted, []
        kept, others = first_calls(wanted, room)
        put_off = [item.put_off(PUT_OFF_FOR_OTHERS_MS) for item in others]
        self._share.took(state, len(kept))
        return kept, put_off
