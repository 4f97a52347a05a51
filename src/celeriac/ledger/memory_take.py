"""Taking deliveries in memory: leases that are over, what is due, what is new; in this order."""

from __future__ import annotations

from celeriac.flow_control import MAX_BLOCKED
from celeriac.ledger.ledger import Ask, Delivery, Stretch, Taken
from celeriac.ledger.memory_moves import Moves
from celeriac.ledger.state import Place
from celeriac.log import entry_key


def take(moves: Moves, owner: str, ask: Ask, lease_ms: int) -> Taken:
    """See Ledger.take, for one ask."""
    group, room = moves.group, ask.limit
    moves.correct_times()
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
            taken.append(Delivery(entry, moves.body(entry), moves.queue(entry, owner), lost))
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
    take_over(_ready(moves), left - min(for_new, ask.most_new))
    if not ask.lane.ordered:
        # the handler was ordered before; nobody else would ever free these
        take_over(parked, room - len(taken))
    want = min(room - len(taken), ask.most_new)
    if ask.lane.ordered:
        want = min(want, MAX_BLOCKED - len(parked))
    if want > 0:
        for entry, body in _new(moves, ask.stretch, want):
            if moves.receive(entry, body, owner):
                taken.append(Delivery(entry, body, 0))
            group.last = max(group.last, entry_key(entry))
    take_over(_ready(moves), room - len(taken))
    return Taken(
        deliveries=tuple(taken),
        queued=queued,
        next_due_ms=min((h.due_ms for h in group.pending.values() if h.due_ms), default=None),
        now_ms=moves.now,
        mean_us=moves.book.stats.get("mean_us", 0),
        patterns=moves.book.patterns,
        held=held,
        own=queued + len(group.held_by(running)),
    )


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
