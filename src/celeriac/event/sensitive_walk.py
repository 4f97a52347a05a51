"""Follow the paths of a `sensitive` attribute through data, at a bounded cost.

The producer of an event writes its paths, so they must not cost a reader more than the data does.
All paths are followed at once, as by a nondeterministic automaton (Thompson 1968): a `State` has
the positions that the paths can have reached. The transitions of a state are cached.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import unquote

from celeriac.event.sensitive import ALL, ANY, DEEP, MAX_PATHS, MAX_STEPS

MAX_COST = 50_000  # positions visited for one event: about 20 ms

Path: TypeAlias = tuple[str, ...]
Position: TypeAlias = tuple[int, int]  # the number of a path, and of its next step
State: TypeAlias = frozenset[Position]


class TooCostly(Exception):
    """The paths cost more than `MAX_COST`: all data counts as sensitive."""


class Walk:
    """The paths of one attribute. With too many paths or steps, all data is sensitive."""

    def __init__(self, attribute: str | None) -> None:
        self._paths = _paths(attribute)
        self._cost = 0
        self._ends: dict[State, bool] = {}
        self._known_transitions: dict[State, tuple[State, dict[str, set[Position]]]] = {}
        self._members: dict[tuple[State, str], State] = {}
        self.start = self._closed((number, 0) for number in range(len(self._paths)))

    def is_reached(self, state: State) -> bool:
        """Return whether a path ends at this state."""
        if not state:
            return False
        known = self._ends.get(state)
        if known is None:
            known = any(step == len(self._paths[path]) for path, step in state)
            self._ends[state] = known
        return known

    def item(self, state: State) -> State:
        """Return the state of the items of a list. Raises TooCostly."""
        return self._transitions(state)[0] if state else state

    def member(self, state: State, name: str) -> State:
        """Return the state of a member of an object. Raises TooCostly."""
        if not state:
            return state
        anything, named = self._transitions(state)
        if name not in named:
            return anything
        known = self._members.get((state, name))
        if known is None:
            known = anything | self._closed(named[name])
            self._spend(len(known))
            self._members[state, name] = known
        return known

    def _transitions(self, state: State) -> tuple[State, dict[str, set[Position]]]:
        """Return the state after any step, and the positions that named members add to it."""
        known = self._known_transitions.get(state)
        if known is not None:
            return known
        self._spend(len(state))
        anything: set[Position] = set()
        named: dict[str, set[Position]] = {}
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
        known = self._known_transitions[state] = self._closed(anything), named
        return known

    def _closed(self, positions: Iterable[Position]) -> State:
        """Return the positions, with those that `**` reaches without a step."""
        reached: set[Position] = set()
        for path, step in positions:
            steps = self._paths[path]
            reached.add((path, step))
            while step < len(steps) and steps[step] == DEEP:
                step += 1
                reached.add((path, step))
        self._spend(len(reached))
        return frozenset(reached)

    def _spend(self, cost: int) -> None:
        self._cost += cost
        if self._cost > MAX_COST:
            raise TooCostly


@lru_cache(maxsize=1024)
def _paths(attribute: str | None) -> tuple[Path, ...]:
    texts = attribute.split(",") if attribute else []
    paths = [() if text == ALL else _steps(text) for text in dict.fromkeys(texts)]
    if len(paths) > MAX_PATHS or any(len(path) > MAX_STEPS for path in paths):
        return ((),)  # not written by a person
    return tuple(paths)


def _steps(text: str) -> Path:
    steps = text.split(".")
    # `**.**` is the same as `**`.
    return tuple(
        step for n, step in enumerate(steps) if step != DEEP or n == 0 or steps[n - 1] != DEEP
    )
