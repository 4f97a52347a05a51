"""The parts that fetching shares, over stores that record their calls and return given results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from celeriac import Event
from celeriac.delivery import Completion, FetchRequest, FetchResult, Group
from celeriac.delivery.fetch_size import FetchSize
from celeriac.delivery.sources import Sources
from celeriac.dispatcher import Chunk
from celeriac.dispatcher.circuits import CircuitCache
from celeriac.dispatcher.context import DispatcherContext
from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.group_table import GroupTable
from celeriac.dispatcher.process_share import ProcessShare
from celeriac.dispatcher.task_sender import TaskSender
from celeriac.handler import HandlerOptions, make_handler
from celeriac.settings import Settings

SETTINGS = Settings.load({}, lease=30.0, chunk_time=0.05, max_chunk=500, prefetch=2)
POLL_INTERVAL = 2.0


def handle(event: Event) -> None: ...
def handle_many(events: list[Event]) -> None: ...


class Members:
    """`left` are groups that are left to other versions, `separate` those that may not share."""

    def __init__(self) -> None:
        self.left: set[Group] = set()
        self.separate: set[Group] = set()
        self.joined_again: list[Group] = []

    def is_left_to_others(self, state: GroupState) -> bool:
        return state.group in self.left

    def may_share(self, state: GroupState) -> bool:
        return state.group not in self.separate

    def retired(self, state: GroupState) -> Mapping[str, int]:
        return {}

    def note_in_force(self, state: GroupState, patterns: tuple[str, ...]) -> None:
        state.in_force = patterns

    def join_again(self, groups: Iterable[GroupState]) -> None:
        self.joined_again += [state.group for state in groups]


class Circuits(CircuitCache):
    """`limits` are those of the handlers whose circuit is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: dict[str, int] = {}

    def limit(self, handler: str) -> int | None:
        return self.limits.get(handler)


class Reader:
    """The reader of the domains in `domains`."""

    def __init__(self) -> None:
        self.domains: set[str] = set()
        self.fetched: list[tuple[list[Group], bool]] = []

    def __contains__(self, domain: str) -> bool:
        return domain in self.domains

    def note_fetched(self, groups: Iterable[GroupState], *, at_end: bool) -> None:
        if given := [state.group for state in groups]:
            self.fetched.append((given, at_end))


class Deliveries:
    """Returns `results`. Grants `granted` deliveries, the next one after 40 ms."""

    def __init__(self) -> None:
        self.requests: list[FetchRequest] = []
        self.results: dict[Group, FetchResult] = {}
        self.skipped: list[tuple[Group, Sequence[Completion]]] = []
        self.invalid: list[tuple[Group, str]] = []
        self.granted = 0
        self.sources: dict[str, Mapping[str, int]] = {}

    def fetch(self, worker: str, requests: Sequence[FetchRequest]) -> list[FetchResult]:
        self.requests = list(requests)
        return [self.results.get(request.group, FetchResult()) for request in requests]

    def dead_letter_invalid(self, worker: str, group: Group, entry: str, error: str) -> bool:
        self.invalid.append((group, entry))
        return True

    def skip_many(self, worker: str, skipped: Sequence[tuple[Group, Sequence[Completion]]]) -> None:
        self.skipped += skipped

    def grant(self, handler: str, want: int, per_second: float) -> tuple[int, int]:
        return min(want, self.granted), 40

    def note_sources(self, domain: str, sources: Mapping[str, int]) -> None:
        self.sources[domain] = sources


class Parts:
    """A dispatcher's parts with two processes. Sent chunks are in `sent`."""

    def __init__(self) -> None:
        self.groups, self.circuits, self.sent = GroupTable(), Circuits(), list[Chunk]()
        self.share, self.members, self.reader = ProcessShare(SETTINGS), Members(), Reader()
        self.tasks = TaskSender(self.sent.append, 2, self.groups, self.circuits)
        self.requeued: list[Group] = []
        self.deliveries, self.reclaimed = Deliveries(), list[Group]()
        chunks = SimpleNamespace(reclaim=self.reclaimed.extend)
        backend = SimpleNamespace(deliveries=self.deliveries, chunks=chunks)
        self.service: Any = SimpleNamespace(worker="w", settings=SETTINGS, backend=backend)
        members: Any = self.members
        reader: Any = self.reader
        self.context = DispatcherContext(
            processes=2,
            groups=self.groups,
            members=members,
            share=self.share,
            circuits=self.circuits,
            tasks=self.tasks,
            sources=Sources(lambda: 0.0),
            reader=reader,
            requeue=lambda state: self.requeued.append(state.group),
            poll_interval=POLL_INTERVAL,
        )

    def group(
        self, domain: str = "order", name: str = "charge", *, mean_us: int = 1000, **options: Any
    ) -> GroupState:
        """Serve another group, whose handler has this run time."""
        function = handle_many if "batch" in options else handle
        given = HandlerOptions(name=name, **options)
        handler = make_handler(function, ("*.placed",), given, service="billing")
        of = self.share.handler(handler.id)
        state = GroupState(handler.group(domain), handler, of, FetchSize(500), mean_us=mean_us)
        of.groups.append(state)
        self.groups.add(state)
        self.share.processes = {**self.share.processes, handler.id: 3}
        self.share.note_run_time(state, mean_us)
        return state
