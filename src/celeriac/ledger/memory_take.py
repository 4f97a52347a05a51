"""Taking deliveries in memory: leases that are over, what is due, what is new; in this order."""

from __future__ import annotations

from celeriac.flow_control import FlowControl
from celeriac.ledger.ledger import Ask, Delivery, Stretch, Taken
from celeriac.ledger.memory_moves import Moves
from celeriac.ledger.state import Place
from celeriac.log import entry_key

# New entries that are read at once, whether there is room for them or not.
MAX_READ_AHEAD = 500


def take(moves: Moves, owner: str, ask: Ask, lease_ms: int) -> Taken:
    """See Ledger.take, for one ask."""
    group, room = moves.group, ask.limit
    moves.correct_times()
    moves.sync()
    queued = len(group.held_by(owner))
    parked = group.held_by(Place.PARKED)
    held = sum(one.owner not in (Place.DUE, Place.PARKED) for one in group.pending.values())
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

    if ask.sweep:
        # room of their own: a worker under steady load is always full
        for holder, entries in _over(moves, lease_ms).items():
            lost = take_over(entries, max(ask.limit, 1), holder)
            moves.book.stats[f"lost {holder.partition(':')[0]}"] += lost
    if ask.most_held is not None:
        # what was taken over is held already; all that follows is held anew
        room = min(room, ask.most_held - held + len(taken))
    # Half of the room is kept for what is new, or a replay of many would hold it up until its end.
    left = max(0, room - len(taken))
    for_new = 1 if left == 1 and not ask.due_first else left // 2
    from_due = left - min(for_new, ask.most_new)
    may_have_more = False
    if ask.lane.flow is not None:
        may_have_more = _take_keyed(moves, owner, ask, room, from_due, taken)
    else:
        take_over(_ready(moves), from_due)
        # the handler limited keys before; nobody else would ever free these
        take_over(parked, room - len(taken))
        want = min(room - len(taken), ask.most_new)
        for entry, body in _new(moves, ask.stretch, want) if want > 0 else ():
            moves.receive(entry, body, owner)
            taken.append(Delivery(entry, body, 0))
            group.last = max(group.last, entry_key(entry))
        take_over(_ready(moves), room - len(taken))
    return Taken(
        deliveries=tuple(taken),
        queued=queued,
        next_due_ms=moves.now if may_have_more else moves.next_ms(),
        now_ms=moves.now,
        mean_us=moves.book.stats.get("mean_us", 0),
        patterns=moves.book.patterns,
        held=held,
        own=queued + len(group.held_by(running)),
    )


def _take_keyed(
    moves: Moves, owner: str, ask: Ask, room: int, from_due: int, taken: list[Delivery]
) -> bool:
    """What is due, whose turn it is, and what is new, as far as each key allows. Returns whether
    more may wait in the log than was read."""
    flow, group = moves.flow, moves.group
    assert flow is not None

    def give(entry: str, together: str = "") -> None:
        into, body = moves.into(entry), moves.body(entry)
        attempts = moves.queue(entry, owner)
        taken.append(Delivery(entry, body, attempts, into=into, together=together))

    def take_due(most: int) -> None:
        for entry in _ready(moves)[: max(0, most)]:
            if moves.take_due(entry, owner):
                give(entry)

    def serve() -> None:
        while len(taken) < room and (entry := moves.serve()):
            others = moves.together_with(entry)
            give(entry, entry if others else "")
            for other in others:
                give(other, entry)

    moves.end_quiet()
    take_due(from_due)
    if not flow.fair:
        serve()
    want = _unread(flow, moves, ask, room - len(taken))
    new = _new(moves, ask.stretch, want) if want > 0 else []
    for entry, body in new:
        pair = moves.debounce(entry, body, owner)
        if pair:
            coalesced, into = pair
            taken.append(Delivery(coalesced, moves.body(coalesced), 0, into=into))
        elif pair is None:
            pass
        elif moves.receive(entry, body, owner, has_room=len(taken) < room):
            taken.append(Delivery(entry, body, 0))
        group.last = max(group.last, entry_key(entry))
    moves.end_quiet()
    serve()
    take_due(room - len(taken))
    return 0 < want <= len(new)


def _unread(flow: FlowControl, moves: Moves, ask: Ask, left: int) -> int:
    """How many new entries are read: also those that there is no room for, where keys take turns or
    wait until they are quiet."""
    blocked = len(moves.group.held_by(Place.PARKED))
    want = min(ask.most_new, flow.max_blocked - blocked)
    return min(want, MAX_READ_AHEAD) if flow.fair or flow.quiet_ms else min(want, left)


def pass_over(moves: Moves, stretch: Stretch) -> bool:
    """See Ledger.pass_over, for one stretch; whether there may be something to take."""
    if _stands_in(moves, stretch):
        moves.group.last = entry_key(stretch.upto)
    held = moves.group.pending or moves.group.chunks
    return bool(held) or moves.group.last < entry_key(stretch.upto)


def _new(moves: Moves, stretch: Stretch | None, want: int) -> list[tuple[str, bytes]]:
    """What the group is given of what waits. It stands behind all that it passes over."""
    group, events = moves.group, moves.store.events
    if stretch is None or not _stands_in(moves, stretch):
        return events.after(group.last, want)
    wanted = [entry for entry, _ in stretch.wanted if entry_key(entry) > group.last]
    if len(wanted) > want:
        return [(entry, body) for entry in wanted[:want] if (body := events.get(entry)) is not None]
    group.last = entry_key(stretch.upto)
    if not stretch.wanted:
        return events.after(group.last, want)
    return [(entry, body) for entry in wanted if (body := events.get(entry)) is not None]


def _stands_in(moves: Moves, stretch: Stretch) -> bool:
    group, events, patterns = moves.group, moves.store.events, moves.book.patterns
    upto, behind = entry_key(stretch.upto), events.after(group.last, 1)
    begins = behind and entry_key(behind[0][0]) > entry_key(stretch.after)
    same = not patterns or patterns == tuple(sorted(set(stretch.patterns)))
    return bool(begins) and same and group.last < upto and events.get(stretch.upto) is not None


def _over(moves: Moves, lease_ms: int) -> dict[str, list[str]]:
    """Holder → its entries whose lease is over. Parked and due entries have none."""
    over: dict[str, list[str]] = {}
    for entry, held in moves.group.sorted():
        process = held.owner not in (Place.DUE, Place.PARKED)
        if process and moves.now - held.since_ms >= lease_ms:
            over.setdefault(held.owner, []).append(entry)
    return dict(sorted(over.items()))


def _ready(moves: Moves) -> list[str]:
    """What is due, in the order of time."""
    found = [
        (held.due_ms, entry)
        for entry, held in moves.group.pending.items()
        if held.due_ms is not None and held.due_ms <= moves.now
    ]
    return [entry for _, entry in sorted(found)]
