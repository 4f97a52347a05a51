"""A reader of shared domains, over stores that record their calls and return given answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from celeriac.delivery import Group
from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import ChunkRequest
from celeriac.dispatcher.domain_reader import DomainReader, ReadResult
from celeriac.dispatcher.domain_reading import DomainReading
from celeriac.dispatcher.group_state import UNKNOWN, GroupState
from celeriac.event_log import Entry
from tests.unit.dispatcher.groups import make_group
from tests.unit.dispatcher.readings import at, entry, prefetch

POLL_INTERVAL = 2.0


class Log:
    """Event logs that end at entry 10, with `following` entries behind it."""

    def __init__(self) -> None:
        self.following: dict[str, list[Entry] | None] = {}
        self.empty: set[str] = set()
        self.pages: list[list[tuple[str, str, int]]] = []
        self.pending: dict[str, Mapping[str, int] | None] = {}
        self.counted: list[str] = []

    def read(self, domain: str, *, count: int, newest_first: bool) -> list[Entry]:
        assert (1, True) == (count, newest_first)
        return [] if domain in self.empty else [entry(10)]

    def read_after(self, pages: Sequence[tuple[str, str, int]]) -> list[list[Entry] | None]:
        self.pages.append(list(pages))
        answers: list[list[Entry] | None] = []
        for domain, _, count in pages:
            entries = self.following.get(domain, [])
            answers.append(entries and entries[:count])
            if entries:
                self.following[domain] = entries[count:]
        return answers

    def pending_counts(self, domains: Sequence[str]) -> list[Mapping[str, int] | None]:
        self.counted += domains
        return [self.pending.get(domain, {}) for domain in domains]


class Fetcher:
    """Has slots for groups without an open chunk. Advances groups, but `answers` once."""

    def __init__(self) -> None:
        self.calls: list[list[Advance]] = []
        self.requests: list[ChunkRequest] = []
        self.counted: list[Group] = []
        self.answers: dict[Group, Advanced] = {}

    def has_slot(self, state: GroupState) -> bool:
        return state.open_chunks == 0

    def count_open(self, states: Sequence[GroupState]) -> None:
        self.counted += [state.group for state in states]

    def advance(self, moves: Sequence[Advance], requests: Sequence[ChunkRequest]) -> list[Advanced]:
        self.calls.append(list(moves))
        self.requests += requests
        return [
            self.answers.pop(move.group, Advanced(move.after != UNKNOWN, move.upto))
            for move in moves
        ]

    @property
    def moved(self) -> list[str]:
        """The handlers of the groups of the last call."""
        return [move.group.handler.removeprefix("billing.") for move in self.calls[-1]]


class World:
    """A reader of domains with four groups each, which share it at entry 10."""

    def __init__(self) -> None:
        self.log, self.fetcher = Log(), Fetcher()
        backend = SimpleNamespace(event_log=self.log, deliveries=self.log)
        service: Any = SimpleNamespace(backend=backend)
        fetcher: Any = self.fetcher
        self.reader = DomainReader(service, fetcher, POLL_INTERVAL)
        self.states: dict[str, list[GroupState]] = {}

    def serve(self, *domains: str, groups: int = 4) -> list[GroupState]:
        """Read these domains too; return the groups of the last one."""
        for domain in domains:
            self.states[domain] = [make_group(domain, f"h{n}") for n in range(groups)]
        self.reader.serve(state for some in self.states.values() for state in some)
        for domain in domains:
            for state in self.states[domain]:
                state.is_shared = True
                at(state, 10).count = 0
        return self.states[domains[-1]]

    def reading(self, domain: str = "order") -> DomainReading:
        return self.reader._readings[domain]

    def read(
        self,
        *,
        separate: Sequence[GroupState] = (),
        one_by_one: Sequence[GroupState] = (),
        capacity: Callable[[str], int | None] = lambda queue: None,
    ) -> ReadResult:
        return self.reader.read(
            lambda state: state not in separate, lambda state: state not in one_by_one, capacity
        )

    def poll(self, now: float = 0.0, *, separate: Sequence[GroupState] = ()) -> ReadResult:
        return self.reader.poll(now, lambda state: state not in separate)


def wait_for(world: World, state: GroupState, *numbers: int) -> None:
    """Let entries be prefetched for the group."""
    prefetch(state, *numbers)
    reading = world.reading(state.group.domain)
    reading.waiting[state.group] = state
    reading.upto, reading.count = f"{max(numbers)}-0", max(numbers) - 10
