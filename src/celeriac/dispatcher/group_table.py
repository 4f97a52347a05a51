"""The consumer groups that a dispatcher serves, and when it looks at each again. Pure.

A turn that looked at every group would cost a thousand handlers a thousand scripts for each event.
So a group is looked at when the doorbell rang for its domain, when its own next time has come
(something is due, or there is room again), and otherwise now and then, for what no bell rings for:
an expired lease, a group that is gone. Where groups stand together, the look at the domain finds
that, and those for which nothing else is to be done cost a turn nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from celeriac.delivery import Group
from celeriac.dispatcher.group_state import NEVER, NOW, GroupState

# Nothing waits for a group that rests: a few, or a share of all, are looked at along with those for
# which something does, and many in a turn that has nothing else to do.
FEW_RESTED, SHARE_RESTED, MANY_RESTED = 8, 1 / 16, 256


class GroupTable:
    """In the order of urgency, which is that in which they were added."""

    def __init__(self) -> None:
        self._groups: dict[Group, GroupState] = {}
        self._by_domain: dict[str, list[GroupState]] = {}  # an index
        self._domains: frozenset[str] | None = None
        self._scheduled: dict[int, GroupState] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[GroupState]:
        return iter(self._groups.values())

    def __contains__(self, group: Group) -> bool:
        return group in self._groups

    def __getitem__(self, group: Group) -> GroupState:
        return self._groups[group]

    def get(self, group: Group) -> GroupState | None:
        return self._groups.get(group)

    def add(self, state: GroupState) -> None:
        """Serve a group, which is looked at in the next turn."""
        state.urgency, state.scheduled = len(self._groups), self._scheduled
        self._groups[state.group] = state
        self._scheduled[id(state)] = state
        self._by_domain.setdefault(state.group.domain, []).append(state)
        self._domains = None

    def keep(self, groups: Collection[Group]) -> list[GroupState]:
        """Serve no others; return the groups that are served no more."""
        dropped = [state for state in self if state.group not in groups]
        for state in dropped:
            del self._groups[state.group]
            self._scheduled.pop(id(state), None)
            state.scheduled = {}
        self._index()
        return dropped

    def order(self, handlers: Sequence[str]) -> None:
        """Put the groups in the order of their handlers."""
        urgency = {handler: n for n, handler in enumerate(handlers)}
        found = sorted(self, key=lambda state: urgency[state.handler.id])
        self._groups = {state.group: state for state in found}
        for n, state in enumerate(found):
            state.urgency = n
        self._index()

    def in_domain(self, domain: str) -> list[GroupState]:
        return self._by_domain.get(domain, [])

    @property
    def domains(self) -> frozenset[str]:
        """Return the domains of the groups: the same object while these are the same."""
        if self._domains is None:
            self._domains = frozenset(self._by_domain)
        return self._domains

    def ready(self, now: float) -> list[GroupState]:
        """Return every group whose time has come, and some of those that rested."""
        groups = sorted(self._scheduled.values(), key=_urgency)
        ready = [state for state in groups if state.look_at <= now]
        few = max(FEW_RESTED, int(len(self) * SHARE_RESTED))
        rested = (state for state in groups if state.rests_until <= now)
        return [*ready, *islice(rested, few if ready else MANY_RESTED)]

    def next_look(self) -> float:
        """Return the earliest time that a turn is held for; infinity where there is none."""
        return min((state.look_at for state in self._scheduled.values()), default=NEVER)

    def _index(self) -> None:
        self._by_domain, self._domains = {}, None
        for state in self:
            self._by_domain.setdefault(state.group.domain, []).append(state)


def _urgency(state: GroupState) -> int:
    return state.urgency


def look_at(state: GroupState, at: float) -> None:
    """Look at the group at that time, and not before unless a bell rings."""
    state.look_at, state.rests_until = at, NEVER
    state.scheduled[id(state)] = state


def look_soon(groups: Iterable[GroupState], at: float) -> None:
    """Look at the groups at that time at the latest."""
    for state in groups:
        look_at(state, min(state.look_at, at))


def rest(state: GroupState, until: float) -> None:
    """Look at the group in some turn after that time, which none is held for."""
    state.look_at, state.rests_until = NEVER, until
    if until == NEVER:
        state.scheduled.pop(id(state), None)
    else:
        state.scheduled[id(state)] = state


def wake(groups: Iterable[GroupState], *, new: bool = False, pending: bool = False) -> None:
    """Look in the next turn for what is new in the groups, or pending."""
    for state in groups:
        if new:
            state.fetch_at = NOW
        if pending:
            state.take_at = NOW
        look_at(state, NOW)
