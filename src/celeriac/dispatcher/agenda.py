"""Which lanes a dispatcher asks for at a turn, and when it asks for each again. Pure.

A turn that asks for every lane costs a thousand handlers a thousand scripts for each event. So a
lane is asked for when somebody rang at its domain's doorbell, when its own next time has come
(something is due, or there is room again), and else now and then, for what nobody rings for: a
lease that is over, a group that is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from celeriac.ledger import Lane

# Nobody waits for these: a few, or a share of all, are asked for along with what somebody does wait
# for, and many in a turn that has nothing else to do.
FEW_RESTED, SHARE_RESTED, MANY_RESTED = 8, 1 / 16, 256
RUNG, NEVER = float("-inf"), float("inf")


class Agenda:
    """When each lane is to be asked for, by one clock in seconds, in the order of urgency."""

    def __init__(self) -> None:
        # Every lane is in one of the first two, and those that rest for good are in neither.
        self._at: dict[Lane, float] = {}
        self._rested: dict[Lane, float] = {}
        self._urgency: dict[Lane, int] = {}
        self._in: dict[str, list[Lane]] = {}

    def add(self, lane: Lane) -> None:
        """At once, if it was not there."""
        if lane not in self._urgency:
            self._urgency[lane] = len(self._urgency)
            self._at[lane] = RUNG
            self._in.setdefault(lane.domain, []).append(lane)

    def keep(self, lanes: Collection[Lane]) -> None:
        """Forgets all other lanes."""
        self._at = {lane: at for lane, at in self._at.items() if lane in lanes}
        self._rested = {lane: at for lane, at in self._rested.items() if lane in lanes}
        kept = [lane for lane in self._urgency if lane in lanes]
        self._urgency = {lane: number for number, lane in enumerate(kept)}
        self._in = {}
        for lane in kept:
            self._in.setdefault(lane.domain, []).append(lane)

    def lanes_in(self, domain: str) -> Sequence[Lane]:
        return self._in.get(domain, ())

    def ring(self, domains: Iterable[str] | None) -> None:
        """At once for every lane of the domains; None stands for all of them."""
        for domain in list(self._in) if domains is None else domains:
            for lane in self._in.get(domain, ()):
                self.put(lane, RUNG)

    def put(self, lane: Lane, at: float) -> None:
        """At that time, and not before unless somebody rings."""
        if lane in self._urgency:
            self._at[lane] = at
            self._rested.pop(lane, None)

    def rest(self, lane: Lane, until: float) -> None:
        """In some turn after that time, which none is held for; infinity: in none."""
        if lane in self._urgency:
            self._at.pop(lane, None)
            self._rested[lane] = until
            if until == NEVER:
                del self._rested[lane]

    def rests(self, lane: Lane) -> bool:
        """Whether no turn is held for it."""
        return lane not in self._at

    def hurry(self, lanes: Iterable[Lane], at: float) -> None:
        """At that time at the latest."""
        for lane in lanes:
            self.put(lane, min(self._at.get(lane, NEVER), at))

    def ready(self, now: float) -> list[Lane]:
        """Every lane whose time has come, and some of those that rested."""
        ready = [lane for lane, at in self._at.items() if at <= now]
        few = max(FEW_RESTED, int(len(self._urgency) * SHARE_RESTED))
        most = few if ready else MANY_RESTED
        rested = islice((lane for lane, at in self._rested.items() if at <= now), most)
        ready.sort(key=self._urgency.__getitem__)
        return [*ready, *rested]

    def next(self) -> float:
        """The earliest time that a turn is to be held for; infinity where there is none."""
        return min(self._at.values(), default=NEVER)
