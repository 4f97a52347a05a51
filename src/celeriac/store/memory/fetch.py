"""Fetch deliveries in memory, in this order: reclaimed, scheduled, new."""

from __future__ import annotations

from celeriac.delivery.delivery import Delivery, FetchRequest, FetchResult
from celeriac.delivery.state import DeliveryState
from celeriac.event_log import entry_key, entry_time_ms
from celeriac.flow_control import MAX_TOGETHER, FlowControl
from celeriac.store.memory.transitions import Transitions

# New entries that are read at once, whether slots are available for them or not.
MAX_PREFETCH = 500


def fetch(moves: Transitions, owner: str, request: FetchRequest, lease_ms: int) -> FetchResult:
    """Implements DeliveryStore.fetch for one request."""
    consumers, slots = moves.consumers, request.limit
    moves.correct_times()
    moves.sync()
    queued = len(consumers.owned_by(owner))
    blocked = consumers.owned_by(DeliveryState.BLOCKED)
    in_flight = sum(
        entry.owner not in (DeliveryState.SCHEDULED, DeliveryState.BLOCKED)
        for entry in consumers.pending.values()
    )
    running = owner.replace("queued:", "running:", 1)
    slots -= queued
    fetched: list[Delivery] = []

    def fetch_entries(entries: list[str], limit: int, holder: str = "") -> int:
        chosen = entries[: max(0, limit)]
        for entry in chosen:
            lost = moves.lose_run(entry, holder)
            if not moves.block_rider(entry):
                into = moves.into(entry)
                attempts = moves.queue(entry, owner)
                fetched.append(Delivery(entry, moves.body(entry), attempts, lost, into))
        return len(chosen)

    if request.reclaim:
        # Reclaimed deliveries have separate slots: a worker under steady load has none available.
        lease_ms = lease_ms if request.lease_ms is None else request.lease_ms
        for holder, entries in _expired(moves, lease_ms).items():
            lost = fetch_entries(entries, max(request.limit, 1), holder)
            moves.handler_store.stats[f"lost {holder.partition(':')[0]}"] += lost
    if request.max_in_flight is not None:
        # Reclaimed deliveries are already in flight; the following ones are added to them.
        slots = min(slots, request.max_in_flight - in_flight + len(fetched))
    # Half of the slots is kept for new deliveries, or a large replay would delay them to its end.
    available = max(0, slots - len(fetched))
    for_new = 1 if available == 1 and not request.scheduled_first else available // 2
    for_scheduled = available - min(for_new, request.max_new)
    if request.group.flow_control is not None:
        want, given = _fetch_keyed(moves, owner, request, slots, for_scheduled, fetched)
    else:
        fetch_entries(_due(moves), for_scheduled)
        # The handler limited keys before; nothing else would unblock these.
        fetch_entries(blocked, slots - len(fetched))
        want = min(slots - len(fetched), request.max_new)
        new = moves.store.events.after(consumers.last, want) if want > 0 else []
        given = len(new)
        for entry, body in new:
            moves.receive(entry, body, owner)
            fetched.append(Delivery(entry, body, 0))
            consumers.last = max(consumers.last, entry_key(entry))
        fetch_entries(_due(moves), slots - len(fetched))
    has_more = request.group.flow_control is not None and 0 < want <= given
    return FetchResult(
        deliveries=tuple(fetched),
        queued=queued,
        next_due_ms=moves.now if has_more else moves.next_ms(),
        now_ms=moves.now,
        mean_us=moves.handler_store.stats.get("mean_us", 0),
        patterns=moves.handler_store.patterns,
        in_flight=in_flight,
        in_flight_here=queued + len(consumers.owned_by(running)),
        is_at_end=given < want,
    )


def _fetch_keyed(
    moves: Transitions,
    owner: str,
    request: FetchRequest,
    slots: int,
    for_scheduled: int,
    fetched: list[Delivery],
) -> tuple[int, int]:
    """Fetch scheduled, blocked and new deliveries within the limits of each key.

    Returns how many new entries were requested, and how many were read.
    """
    flow_control, consumers = moves.flow_control, moves.consumers
    assert flow_control is not None

    def give(entry: str, together: str = "") -> None:
        into, body = moves.into(entry), moves.body(entry)
        attempts = moves.queue(entry, owner)
        fetched.append(Delivery(entry, body, attempts, into=into, together=together))

    # A list that was requeued is collected again, even without available slots.
    gathers = bool(flow_control.quiet_ms) and flow_control.keep == "all" and request.limit > 0

    def fetch_due(limit: int) -> None:
        scanned = max(limit, MAX_TOGETHER) if gathers else limit
        for entry in _due(moves)[: max(0, scanned)]:
            if gathers and moves.gather_due(entry):
                continue
            if limit > 0:
                limit -= 1
                if moves.take_due(entry):
                    give(entry)

    def serve() -> None:
        while len(fetched) < slots and (entry := moves.serve()):
            others = moves.together_with(entry)
            give(entry, entry if others else "")
            for other in others:
                give(other, entry)

    fetch_due(for_scheduled)
    if not flow_control.fair:
        serve()
    want = _max_unread(flow_control, moves, request, slots - len(fetched))
    new = moves.store.events.after(consumers.last, want) if want > 0 else []
    for entry, body in new:
        pair = moves.debounce(entry, body, owner)
        if pair:
            coalesced, into = pair
            fetched.append(Delivery(coalesced, moves.body(coalesced), 0, into=into))
        elif pair is None:
            pass
        elif moves.receive(entry, body, owner, has_room=len(fetched) < slots):
            fetched.append(Delivery(entry, body, 0))
        consumers.last = max(consumers.last, entry_key(entry))
    # A key is not quiet while an unread entry may have it, unless so many entries are blocked that
    # no more are read.
    read_until = moves.now if request.max_new else 0
    if 0 < want <= len(new):
        read_until = min(moves.now, entry_time_ms(new[-1][0]))
    moves.end_quiet(read_until)
    serve()
    fetch_due(slots - len(fetched))
    return want, len(new)


def _max_unread(
    flow_control: FlowControl, moves: Transitions, request: FetchRequest, slots: int
) -> int:
    """Return how many new entries to read.

    If keys are served fairly or debounced, this includes entries without an available slot.
    """
    blocked = len(moves.consumers.owned_by(DeliveryState.BLOCKED))
    want = min(request.max_new, flow_control.max_blocked - blocked)
    return (
        min(want, MAX_PREFETCH) if flow_control.fair or flow_control.quiet_ms else min(want, slots)
    )


def _expired(moves: Transitions, lease_ms: int) -> dict[str, list[str]]:
    """Return holder → its entries whose lease expired. Blocked and scheduled entries have none."""
    expired: dict[str, list[str]] = {}
    for entry, pending in moves.consumers.sorted():
        has_lease = pending.owner not in (DeliveryState.SCHEDULED, DeliveryState.BLOCKED)
        if has_lease and moves.now - pending.since_ms >= lease_ms:
            expired.setdefault(pending.owner, []).append(entry)
    return dict(sorted(expired.items()))


def _due(moves: Transitions) -> list[str]:
    """Return the scheduled entries whose time has come, ordered by time."""
    due = [
        (pending.due_ms, entry)
        for entry, pending in moves.consumers.pending.items()
        if pending.due_ms is not None and pending.due_ms <= moves.now
    ]
    return [entry for _, entry in sorted(due)]
