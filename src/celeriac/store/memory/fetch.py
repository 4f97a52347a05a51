"""Taking deliveries in memory: leases that are over, what is due, what is new; in this order."""

from __future__ import annotations

from celeriac.delivery.state import DeliveryState
from celeriac.delivery.store import Delivery, FetchRequest, FetchResult
from celeriac.event_log import entry_key, entry_time_ms
from celeriac.flow_control import MAX_TOGETHER, FlowControl
from celeriac.store.memory.transitions import Transitions

# New entries that are read at once, whether there is room for them or not.
MAX_READ_AHEAD = 500


def fetch(moves: Transitions, owner: str, ask: FetchRequest, lease_ms: int) -> FetchResult:
    """See Ledger.take, for one ask."""
    consumers, room = moves.consumers, ask.limit
    moves.correct_times()
    moves.sync()
    queued = len(consumers.held_by(owner))
    parked = consumers.held_by(DeliveryState.BLOCKED)
    held = sum(
        one.owner not in (DeliveryState.SCHEDULED, DeliveryState.BLOCKED)
        for one in consumers.pending.values()
    )
    running = owner.replace("queued:", "running:", 1)
    room -= queued
    taken: list[Delivery] = []

    def take_over(entries: list[str], most: int, holder: str = "") -> int:
        chosen = entries[: max(0, most)]
        for entry in chosen:
            lost = moves.lose_run(entry, holder)
            if not moves.block_rider(entry):
                into = moves.into(entry)
                attempts = moves.queue(entry, owner)
                taken.append(Delivery(entry, moves.body(entry), attempts, lost, into))
        return len(chosen)

    if ask.reclaim:
        # room of their own: a worker under steady load is always full
        for holder, entries in _over(moves, lease_ms).items():
            lost = take_over(entries, max(ask.limit, 1), holder)
            moves.handler_store.stats[f"lost {holder.partition(':')[0]}"] += lost
    if ask.max_in_flight is not None:
        # what was taken over is held already; all that follows is held anew
        room = min(room, ask.max_in_flight - held + len(taken))
    # Half of the room is kept for what is new, or a replay of many would hold it up until its end.
    left = max(0, room - len(taken))
    for_new = 1 if left == 1 and not ask.scheduled_first else left // 2
    from_due = left - min(for_new, ask.max_new)
    if ask.group.flow is not None:
        want, given = _take_keyed(moves, owner, ask, room, from_due, taken)
    else:
        take_over(_ready(moves), from_due)
        # the handler limited keys before; nobody else would ever free these
        take_over(parked, room - len(taken))
        want = min(room - len(taken), ask.max_new)
        found = moves.store.events.after(consumers.last, want) if want > 0 else []
        given = len(found)
        for entry, body in found:
            moves.receive(entry, body, owner)
            taken.append(Delivery(entry, body, 0))
            consumers.last = max(consumers.last, entry_key(entry))
        take_over(_ready(moves), room - len(taken))
    has_more = ask.group.flow is not None and 0 < want <= given
    return FetchResult(
        deliveries=tuple(taken),
        queued=queued,
        next_due_ms=moves.now if has_more else moves.next_ms(),
        now_ms=moves.now,
        mean_us=moves.handler_store.stats.get("mean_us", 0),
        patterns=moves.handler_store.patterns,
        in_flight=held,
        in_flight_here=queued + len(consumers.held_by(running)),
        is_at_end=given < want,
    )


def _take_keyed(
    moves: Transitions,
    owner: str,
    ask: FetchRequest,
    room: int,
    from_due: int,
    taken: list[Delivery],
) -> tuple[int, int]:
    """What is due, whose turn it is, and what is new, as far as each key allows. Returns how many
    new entries were asked for, and how many were read."""
    flow, consumers = moves.flow, moves.consumers
    assert flow is not None

    def give(entry: str, together: str = "") -> None:
        into, body = moves.into(entry), moves.body(entry)
        attempts = moves.queue(entry, owner)
        taken.append(Delivery(entry, body, attempts, into=into, together=together))

    # A list that was requeued is gathered again, whatever room there is.
    gathers = bool(flow.quiet_ms) and flow.keep == "all" and ask.limit > 0

    def take_due(most: int) -> None:
        scanned = max(most, MAX_TOGETHER) if gathers else most
        for entry in _ready(moves)[: max(0, scanned)]:
            if gathers and moves.gather_due(entry):
                continue
            if most > 0:
                most -= 1
                if moves.take_due(entry):
                    give(entry)

    def serve() -> None:
        while len(taken) < room and (entry := moves.serve()):
            others = moves.together_with(entry)
            give(entry, entry if others else "")
            for other in others:
                give(other, entry)

    take_due(from_due)
    if not flow.fair:
        serve()
    want = _unread(flow, moves, ask, room - len(taken))
    new = moves.store.events.after(consumers.last, want) if want > 0 else []
    for entry, body in new:
        pair = moves.debounce(entry, body, owner)
        if pair:
            coalesced, into = pair
            taken.append(Delivery(coalesced, moves.body(coalesced), 0, into=into))
        elif pair is None:
            pass
        elif moves.receive(entry, body, owner, has_room=len(taken) < room):
            taken.append(Delivery(entry, body, 0))
        consumers.last = max(consumers.last, entry_key(entry))
    # A key is not quiet while an unread entry may be of it, unless so many entries are blocked that
    # no more are read.
    read_until = moves.now if ask.max_new else 0
    if 0 < want <= len(new):
        read_until = min(moves.now, entry_time_ms(new[-1][0]))
    moves.end_quiet(read_until)
    serve()
    take_due(room - len(taken))
    return want, len(new)


def _unread(flow: FlowControl, moves: Transitions, ask: FetchRequest, left: int) -> int:
    """How many new entries are read: also those that there is no room for, where keys take turns or
    wait until they are quiet."""
    blocked = len(moves.consumers.held_by(DeliveryState.BLOCKED))
    want = min(ask.max_new, flow.max_blocked - blocked)
    return min(want, MAX_READ_AHEAD) if flow.fair or flow.quiet_ms else min(want, left)


def _over(moves: Transitions, lease_ms: int) -> dict[str, list[str]]:
    """Holder → its entries whose lease is over. Parked and due entries have none."""
    over: dict[str, list[str]] = {}
    for entry, held in moves.consumers.sorted():
        process = held.owner not in (DeliveryState.SCHEDULED, DeliveryState.BLOCKED)
        if process and moves.now - held.since_ms >= lease_ms:
            over.setdefault(held.owner, []).append(entry)
    return dict(sorted(over.items()))


def _ready(moves: Transitions) -> list[str]:
    """What is due, in the order of time."""
    found = [
        (held.due_ms, entry)
        for entry, held in moves.consumers.pending.items()
        if held.due_ms is not None and held.due_ms <= moves.now
    ]
    return [entry for _, entry in sorted(found)]
