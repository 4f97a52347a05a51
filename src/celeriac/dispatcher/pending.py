"""Deliveries that are taken one by one: pending ones, and new ones where no chunk is fetched."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from celeriac.delivery import Ask, Lane, Settled, Taken
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

log = logging.getLogger(__name__)

SWEEP = 0.1  # of a lease: how often leases that are over are looked for


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
        self._unwanted: list[tuple[Lane, list[Settled]]] = []
        self.sweep_from = NOW

    def asks(self, now: float, ready: Sequence[GroupState], fetched: Collection[Lane]) -> list[Ask]:
        """Return what to take for the groups, those that wait longest first, and for those that are
        `fetched` only pending deliveries. Reclaims chunks whose lease expired."""
        asks = []
        expired = []
        for group in ready:
            lane = group.lane
            if lane not in self._groups:
                continue
            swept = group.swept_at + self._service.settings.lease * SWEEP
            sweep = now >= max(swept, self.sweep_from)
            if sweep:
                expired.append(lane)
            if lane in fetched:
                if not sweep and now < group.take_at:
                    continue
                ask: Ask | None = self._ask_pending(group, sweep)
            else:
                ask = self._ask(group, sweep)
            if ask is None:
                look_at(group, now + IDLE)
                continue
            if sweep:
                group.swept_at = now
            # What stands in its way is known from other lanes, which are asked for soon.
            if ask.limit == 0:
                look_soon((one for one in group.of.groups if one.sent), now + BUSY)
            if ask.most_held is not None and ask.most_held <= group.held.everywhere:
                look_soon(self._share.holding(group.of), now + BUSY)
            group.is_new_first = not group.is_new_first
            asks.append(replace(ask, due_first=group.is_new_first))
        self._service.backend.chunks.reclaim(expired)
        asks.sort(key=lambda ask: self._share.turn_of(self._groups[ask.lane]))
        return asks

    def _ask_pending(self, group: GroupState, sweep: bool) -> Ask:
        """For a group whose new entries come in chunks."""
        most = limit(group.handler, group.mean_us, self._processes, self._service.settings)
        if group.has_begun and not sweep:
            most = min(most, group.queued + max(1, self._tasks.room(group)))
        return Ask(group.lane, most, sweep=sweep, most_new=0)

    def _ask(self, group: GroupState, sweep: bool) -> Ask | None:
        """None where nothing may be taken: not even what is due, which stays where it is."""
        lane, handler = group.lane, group.handler
        if self._members.is_left_to_others(group):
            return Ask(lane, 0, most_new=0)  # tells which patterns are in force
        through = self._doors.most(handler.id)
        if through is not None:
            new = 0 if group.is_together else through
            return Ask(lane, through, sweep=sweep, most_new=new) if through else None
        room = self._share.room(group)
        held = None if room is None else group.held.everywhere + room
        most = limit(handler, group.mean_us, self._processes, self._service.settings)
        if group.has_begun and not sweep:
            # The last ones needed a task each, and so may the next.
            most = min(most, group.queued + max(1, self._tasks.room(group)))
        if self._tasks.has_enough(group):
            # Lost hints count as waiting too, so a sweep needs its room to send them anew.
            return Ask(lane, most if sweep else 0, sweep=sweep, most_new=0)
        if group.is_together:
            # What is new is read for all of them.
            return Ask(lane, most, sweep=sweep, most_held=held, most_new=0)
        return Ask(lane, most, sweep=sweep, most_held=held)

    def accept(self, group: GroupState, ask: Ask, taken: Taken) -> int:
        """Send a task for what the handler wants; return how many deliveries that is."""
        if not taken.deliveries:
            return 0
        handler, lane, given = group.handler, ask.lane, len(taken.deliveries)
        ledger, worker = self._service.backend.ledger, self._service.worker
        retired = self._members.retired(group)
        sifted = sift(handler, taken.deliveries, taken.patterns, retired, domain=lane.domain)
        self._sources.add(lane.domain, sifted.sources)
        for entry in sifted.gone:
            log.error("%s: entry %s was trimmed by another hand; it is lost", lane, entry)
        for entry, error in sifted.invalid:
            ledger.bury_invalid(worker, lane, entry, error)
            log.error("entry %s of %s is no event: %s", entry, lane.domain, error)
        unwanted = sifted.unwanted
        wanted, put_off = run_apart(sifted.wanted, self._service.settings.lease)
        unwanted += put_off
        if handler.per_second is not None and wanted:
            wanted, put_off = self._within_rate(handler, wanted)
            unwanted += put_off
        wanted, put_off = self._within_tasks(group, wanted)
        unwanted += put_off
        wanted, put_off = self._within_share(group, wanted)
        unwanted += put_off
        if unwanted:
            self._unwanted.append((lane, unwanted))
        # All that was asked for came, so there is a backlog.
        more = given >= min(ask.most_new, ask.limit - taken.queued)
        chunks = split(
            handler, lane, wanted, taken.mean_us, self._processes, self._service.settings, more=more
        )
        if self._share.leaves_room(group):
            # Counted here, so it has to run here, and not where others are slow already.
            chunks = [replace(chunk, stays=True) for chunk in chunks]
        self._tasks.add(chunks)
        return len(sifted.wanted)

    def skip(self) -> None:
        """Settle what handlers do not want. Runs last: if it fails, lease expiry recovers it."""
        unwanted, self._unwanted = self._unwanted, []
        self._service.backend.ledger.skip_many(self._service.worker, unwanted)

    def _within_rate(
        self, handler: Handler, wanted: list[Item]
    ) -> tuple[list[Item], list[Settled]]:
        assert handler.per_second is not None
        granted, wait_ms = self._service.backend.ledger.grant(
            handler.id, len(wanted), handler.per_second
        )
        step = 1000 / handler.per_second
        put_off = [item.put_off(int(wait_ms + n * step)) for n, item in enumerate(wanted[granted:])]
        return wanted[:granted], put_off

    def _within_tasks(
        self, group: GroupState, wanted: list[Item]
    ) -> tuple[list[Item], list[Settled]]:
        """What was begun before needs a task each: no more of it than hints may wait, so that a
        handler that kills its processes does not fill the queue before others."""
        begun = [item for item in wanted if item.attempts]
        if not begun:
            group.has_begun = False
            return wanted, []
        group.has_begun = True
        room = max(0, self._tasks.room(group))
        late = {item.entry for item in begun[room:]}
        kept = [item for item in wanted if item.entry not in late]
        return kept, [item.put_off(0) for item in begun[room:]]

    def _within_share(
        self, group: GroupState, wanted: list[Item]
    ) -> tuple[list[Item], list[Settled]]:
        """Several slow handlers were asked for at once, each for all the room that there is."""
        room = self._share.room(group)
        if room is None:
            return wanted, []
        kept, others = first_calls(wanted, room)
        put_off = [item.put_off(PUT_OFF_FOR_OTHERS_MS) for item in others]
        self._share.took(group, len(kept))
        return kept, put_off
