"""The consumer groups that a dispatcher serves, and when it polls each again. Pure, but for jitter.

Polling every group in each iteration would cost a thousand handlers a thousand scripts per event.
So a group is polled after a wakeup of its domain, at its next time (a delivery is due, or a slot
may be free), and otherwise rarely, to detect expired leases and deleted groups. For groups that
share a domain's reading, polling the domain detects these, and idle groups cost an iteration
nothing.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from celeriac.delivery import Group
from celeriac.dispatcher.group_state import NEVER, NOW, GroupState

# Idle groups are polled rarely. Some of them, a few or a share of all, are polled together with
# groups that are due, and many in an iteration without due groups.
FEW_IDLE, SHARE_IDLE, MANY_IDLE = 8, 1 / 16, 256
# Of groups with no delivery in flight. With more groups, each is polled less often.
POLLS_PER_SECOND = 100


class GroupTable:
    """The groups in order of urgency, in which they were added."""

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
        """Serve a group, which is polled in the next iteration."""
        state.urgency, state.scheduled = len(self._groups), self._scheduled
        self._groups[state.group] = state
        self._scheduled[id(state)] = state
        self._by_domain.setdefault(state.group.domain, []).append(state)
        self._domains = None

    def keep(self, groups: Collection[Group]) -> list[GroupState]:
        """Serve only these groups; return the groups that are no longer served."""
        dropped = [state for state in self if state.group not in groups]
        for state in dropped:
            del self._groups[state.group]
            self._scheduled.pop(id(state), None)
            state.scheduled = {}
        self._index()
        return dropped

    def order(self, handlers: Sequence[str]) -> None:
        """Sort the groups by the order of their handlers."""
        urgency = {handler: n for n, handler in enumerate(handlers)}
        ordered = sorted(self, key=lambda state: urgency[state.handler.id])
        self._groups = {state.group: state for state in ordered}
        for n, state in enumerate(ordered):
            state.urgency = n
        self._index()

    def in_domain(self, domain: str) -> list[GroupState]:
        return self._by_domain.get(domain, [])

    @property
    def domains(self) -> frozenset[str]:
        """The domains of the groups; the same object while they do not change."""
        if self._domains is None:
            self._domains = frozenset(self._by_domain)
        return self._domains

    def ready(self, now: float) -> list[GroupState]:
        """Return every group that is due, and some idle groups."""
        groups = sorted(self._scheduled.values(), key=_urgency)
        ready = [state for state in groups if state.poll_at <= now]
        few = max(FEW_IDLE, int(len(self) * SHARE_IDLE))
        idle = (state for state in groups if state.idle_until <= now)
        return [*ready, *islice(idle, few if ready else MANY_IDLE)]

    def next_poll(self) -> float:
        """Return the earliest time at which a group is due; infinity if there is none."""
        return min((state.poll_at for state in self._scheduled.values()), default=NEVER)

    def idle_time(self, poll_interval: float, *, may_expire: bool = False) -> float:
        """Return the seconds until an idle group is polled without a wakeup, with jitter.

        If a lease of the group may expire, the number of groups does not delay that.
        """
        longest = poll_interval if may_expire else max(poll_interval, len(self) / POLLS_PER_SECOND)
        return longest * random.uniform(0.5, 1)

    def _index(self) -> None:
        self._by_domain, self._domains = {}, None
        for state in self:
            self._by_domain.setdefault(state.group.domain, []).append(state)


def _urgency(state: GroupState) -> int:
    return state.urgency


def poll_at(state: GroupState, at: float) -> None:
    """Poll the group at this time, and not earlier without a wakeup."""
    state.poll_at, state.idle_until = at, NEVER
    state.scheduled[id(state)] = state


def poll_soon(groups: Iterable[GroupState], at: float) -> None:
    """Poll the groups at this time at the latest."""
    for state in groups:
        poll_at(state, min(state.poll_at, at))


def idle(state: GroupState, until: float) -> None:
    """Poll the group in any iteration after this time, without waiting for it."""
    state.poll_at, state.idle_until = NEVER, until
    if until == NEVER:
        state.scheduled.pop(id(state), None)
    else:
        state.scheduled[id(state)] = state


def wake(groups: Iterable[GroupState], *, new: bool = False, pending: bool = False) -> None:
    """Poll the groups for new or pending entries in the next iteration."""
    for state in groups:
        if new:
            state.fetch_at = NOW
        if pending:
            state.pending_at = NOW
        poll_at(state, NOW)
