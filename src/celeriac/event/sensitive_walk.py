"""Follows the paths of a `sensitive` attribute through data, at a bounded cost.

Whoever writes an event writes its paths, so they must not cost a reader more than the data does.
All paths are followed at once, as by a nondeterministic automaton (Thompson 1968): a `State` holds
each place that some path can have reached. What a state leads to is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import unquote

from celeriac.event.sensitive import ALL, ANY, DEEP, MAX_PATHS, MAX_STEPS

MAX_COST = 50_000  # places looked at for one event: some 20 ms

Path: TypeAlias = tuple[str, ...]
DeliveryState: TypeAlias = tuple[int, int]  # the number of a path, and of the step that comes next
State: TypeAlias = frozenset[DeliveryState]


class TooCostly(Exception):
    """The paths cost more to follow than `MAX_COST`: everything counts as sensitive."""


class Walk:
    """The paths of one attribute. One with too many paths or steps reaches all of the data."""

    def __init__(self, attribute: str | None) -> None:
        self._paths = _paths(attribute)
        self._cost = 0
        self._ends: dict[State, bool] = {}
        self._onward: dict[State, tuple[State, dict[str, set[DeliveryState]]]] = {}
        self._members: dict[tuple[State, str], State] = {}
        self.start = self._closed((number, 0) for number in range(len(self._paths)))

    def is_reached(self, state: State) -> bool:
        """Whether a path ends here."""
        if not state:
            return False
        known = self._ends.get(state)
        if known is None:
            known = any(step == len(self._paths[path]) for path, step in state)
            self._ends[state] = known
        return known

    def item(self, state: State) -> State:
        """The state of each item of a list."""
        return self._leads(state)[0] if state else state

    def member(self, state: State, name: str) -> State:
        """The state of a member of an object. Raises TooCostly."""
        if not state:
            return state
        anything, named = self._leads(state)
        if name not in named:
            return anything
        known = self._members.get((state, name))
        if known is None:
            known = anything | self._closed(named[name])
            self._spend(len(known))
            self._members[state, name] = known
        return known

    def _leads(self, state: State) -> tuple[State, dict[str, set[DeliveryState]]]:
        """What any step leads to, and where the step to a named member leads beside that."""
        known = self._onward.get(state)
        if known is not None:
            return known
        self._spend(len(state))
        anything: set[DeliveryState] = set()
        named: dict[str, set[DeliveryState]] = {}
        for path, step in state:
            steps = self._paths[path]
            if step == len(steps):
                continue
            if steps[step] == DEEP:
                anything.add((path, step))
            elif steps[step] == ANY:
                anything.add((path, step + 1))
            else:
                named.setdefault(unquote(steps[step]), set()).add((path, step + 1))
        known = self._onward[state] = self._closed(anything), named
        return known

    def _closed(self, places: Iterable[DeliveryState]) -> State:
        """With what `**` reaches without a step."""
        found: set[DeliveryState] = set()
        for path, step in places:
            steps = self._paths[path]
            found.add((path, step))
            while step < len(steps) and steps[step] == DEEP:
                step += 1
                found.add((path, step))
        self._spend(len(found))
        return frozenset(found)

    def _spend(self, cost: int) -> None:
        self._cost += cost
        if self._cost > MAX_COST:
            raise TooCostly


@lru_cache(maxsize=1024)
def _paths(attribute: str | None) -> tuple[Path, ...]:
    texts = attribute.split(",") if attribute else []
    paths = [() if text == ALL else _steps(text) for text in dict.fromkeys(texts)]
    if len(paths) > MAX_PATHS or any(len(path) > MAX_STEPS for path in paths):
        return ((),)  # no person wrote it
    return tuple(paths)


def _steps(text: str) -> Path:
    steps = text.split(".")
    # `**.**` reaches what `**` does
    return tuple(
        step for n, step in enumerate(steps) if step != DEEP or n == 0 or steps[n - 1] != DEEP
    )
