"""What a fetched chunk becomes, and what a fetcher does about requests without a reply."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from celeriac import Event
from celeriac.delivery import Group, Outcome
from celeriac.delivery.advance import Advance, Advanced, NewChunk
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest, Fetched
from celeriac.delivery.fetch_size import FEW, FetchSize
from celeriac.delivery.repetition import Repetitions
from celeriac.delivery.run_record import RunOutcome, parse_record, parse_runs
from celeriac.dispatcher.fetching import MAX_FIRST, ChunkFetcher, FetchedChunk
from celeriac.dispatcher.group_state import GroupState, HandlerState
from celeriac.event import build_event, encode
from celeriac.event_log import Entry, EntryKind
from celeriac.handler import HandlerOptions, make_handler


def handle(event: Event) -> None: ...
def handle_many(events: list[Event]) -> None: ...


def group_of(domain: str = "order", **options: Any) -> GroupState:
    function = handle_many if "batch" in options else handle
    given = HandlerOptions(name="charge", **options)
    handler = make_handler(function, (f"{domain}.placed",), given, service="billing")
    return GroupState(handler.group(domain), handler, HandlerState(handler.id), FetchSize(500))


def entry(number: int, kind: EntryKind = EntryKind.MADE, type: str = "order.placed") -> Entry:
    return Entry(f"{number}-0", encode(build_event(type, None, source="s", id=f"e{number}")), kind)


class Chunks:
    """A chunk store that records its calls. Commands for a group in `away` fail."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.requests: list[ChunkRequest] = []
        self.requeued: list[tuple[str, str, bool]] = []
        self.completed: list[tuple[str, ChunkCompletion]] = []
        self.answers: list[Fetched] = []
        self.advanced: list[Advanced] = []
        self.counts: list[int] = []
        self.counted: list[Group] = []
        self.asked: list[str] = []

    def fetch(self, worker: str, requests: Sequence[ChunkRequest]) -> list[Fetched]:
        self.requests += requests
        if any(request.group.domain in self.away for request in requests):
            raise redis.ConnectionError("reset")
        return self.answers

    def advance(self, worker: str, moves: Sequence[Advance]) -> list[Advanced]:
        return self.advanced

    def requeue(self, worker: str, group: Group, chunk: str, *, only_queued: bool = False) -> int:
        if group.domain in self.away:
            raise redis.ConnectionError(f"{group.domain} is away")
        self.requeued.append((group.domain, chunk, only_queued))
        return 0 if chunk == "begun" else 3

    def complete(self, worker: str, group: Group, chunk: str, completion: ChunkCompletion) -> bool:
        self.completed.append((chunk, completion))
        return True

    def count_open(self, worker: str, groups: Sequence[Group]) -> list[int]:
        self.counted += groups
        return self.counts

    def repetitions(self, domain: str, entries: Sequence[tuple[Entry, str]]) -> Repetitions:
        self.asked += [one.id for one, _ in entries]
        return Repetitions(frozenset(self.asked))


@pytest.fixture
def chunks() -> Chunks:
    return Chunks()


@pytest.fixture
def fetcher(chunks: Chunks) -> ChunkFetcher:
    """Has a slot for groups without an open chunk. The pool has a free process for `order`."""
    service: Any = SimpleNamespace(worker="w", backend=SimpleNamespace(chunks=chunks))
    return ChunkFetcher(service, lambda queue: queue == "free", lambda g: g.open_chunks == 0)


def fetched(
    state: GroupState, *entries: Entry, ambiguous: bool = False, is_direct: bool = False
) -> FetchedChunk:
    result = Fetched(entries, now_ms=5000, is_ambiguous=ambiguous, patterns=("order.placed",))
    return FetchedChunk(state, ChunkRequest(state.group, "c", 10), result, 7, is_direct)


def test_the_deliveries_of_a_chunk_were_not_attempted_before() -> None:
    chunk = fetched(group_of(), entry(1), entry(2, type="order.paid"), entry(3))
    filtered = chunk.filter_deliveries({})
    assert [("1-0", 0), ("3-0", 0)] == [(item.entry, item.attempts) for item in filtered.wanted]
    assert [("2-0", Outcome.IGNORED, 0)] == [
        (one.entry, one.outcome, one.attempt) for one in filtered.unwanted
    ]


@pytest.mark.parametrize("is_direct", [True, False])
def test_the_task_of_a_chunk_has_the_entries_if_a_process_here_runs_it(is_direct: bool) -> None:
    entries = entry(1), entry(2, type="order.paid")
    made = fetched(group_of(), *entries, is_direct=is_direct)
    chunk = made.chunk(made.filter_deliveries({}))
    assert ("c", 7, is_direct) == (chunk.id, chunk.more, chunk.stays)
    assert (["1-0"], entries if is_direct else None) == (
        [item.entry for item in chunk.items], chunk.entries
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "signed", "runnable"),
    [
        ([entry(1)], False, True),
        ([entry(1, EntryKind.GIVEN)], False, True),
        ([entry(1, EntryKind.FOREIGN)], False, False),
        ([entry(1, EntryKind.FOREIGN), entry(2)], False, True),
        # The one that is no duplicate is not wanted.
        ([entry(1, EntryKind.FOREIGN), entry(2, type="order.paid")], False, False),
        ([entry(1, type="order.paid")], False, False),
        ([entry(1, EntryKind.FOREIGN)], True, True),
        ([entry(1, type="order.paid")], True, False),
    ],
)
def test_a_chunk_runs_if_a_wanted_entry_is_certainly_no_duplicate(
    entries: list[Entry], signed: bool, runnable: bool
) -> None:
    chunk = fetched(group_of(signed=signed), *entries)
    assert runnable is chunk.runnable(chunk.filter_deliveries({}))


def test_a_chunk_that_does_not_run_ignores_repeated_entries_and_requeues_the_other_wanted_ones(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    state = group_of(when=lambda event: event.id != "e4")
    state.open_chunks = 2
    made = fetched(state, entry(1), entry(2), entry(3, type="order.paid"), entry(4), entry(5))
    made = fetched(state, *made.fetched.entries, Entry("6-0", b"{}"))
    assert fetcher.complete(made, made.filter_deliveries({}), {"5-0", "2-0"})
    [(chunk, completion)] = chunks.completed
    assert ("c", "6-0", 6, 1) == (chunk, completion.until, completion.done, state.open_chunks)
    runs = parse_runs(parse_record(b"0-0 6-0 w\n" + completion.record))
    assert {("2-0", RunOutcome.IGNORED, 0), ("5-0", RunOutcome.IGNORED, 0)} == {
        (run.entry, run.outcome, run.took_us) for run in runs
    }
    assert [
        ("1-0", Outcome.REQUEUED, 1, 0),
        ("4-0", Outcome.SKIPPED, 1, 0),
        ("6-0", Outcome.REQUEUED, 1, 0),
    ] == [(one.entry, one.outcome, one.attempt, one.delay_ms) for one in completion.exceptions]


def test_a_chunk_without_a_repeated_entry_has_no_record_of_runs(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    made = fetched(group_of(), entry(1, type="order.paid"), entry(2, type="order.paid"))
    assert not fetcher.complete(made, made.filter_deliveries({}), ())
    assert ("c", ChunkCompletion("2-0", 2, exceptions=[])) == chunks.completed[0]


@pytest.mark.parametrize(("kept", "due"), [("e1", True), ("none", False)])
def test_entries_of_a_chunk_that_does_not_run_are_due_if_they_were_requeued(
    fetcher: ChunkFetcher, kept: str, due: bool
) -> None:
    made = fetched(group_of(when=lambda event: event.id == kept), entry(1, EntryKind.FOREIGN))
    assert due is fetcher.complete(made, made.filter_deliveries({}), ())


@pytest.mark.parametrize(
    ("ambiguous", "signed", "asked"),
    [(True, False, ["1-0"]), (False, False, []), (True, True, [])],
)
def test_only_the_wanted_entries_of_an_ambiguous_fetch_are_searched_for_repetitions(
    fetcher: ChunkFetcher, chunks: Chunks, ambiguous: bool, signed: bool, asked: list[str]
) -> None:
    made = fetched(
        group_of(signed=signed), entry(1), entry(2, type="order.paid"), ambiguous=ambiguous
    )
    found = fetcher.repetitions(made, made.filter_deliveries({}))
    assert (asked, frozenset(asked)) == (chunks.asked, found.certain)


def test_an_ambiguous_fetch_without_a_wanted_entry_is_not_searched(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    chunks.asked.append("not emptied")
    made = fetched(group_of(), entry(1, type="order.paid"), ambiguous=True)
    assert Repetitions() == fetcher.repetitions(made, made.filter_deliveries({}))


@pytest.mark.parametrize(
    ("options", "mean_us", "share", "count"),
    [({}, 0, 1.0, 1), ({}, 1, 0.01, 100), ({}, 5000, 1.0, 2), ({"batch": 150}, 0, 1.0, 150)],
)
def test_the_first_chunk_of_a_task_is_small(
    fetcher: ChunkFetcher, chunks: Chunks, options: dict[str, Any], mean_us: int, share: float,
    count: int,
) -> None:  # fmt: skip
    state = group_of(**options)
    state.mean_us, state.size.wanted_share, state.size.mean_bytes = mean_us, share, 100.0
    chunks.answers = [Fetched()]
    fetcher.fetch([state])
    assert ([count], MAX_FIRST) == ([request.count for request in chunks.requests], 100)


def test_a_chunk_is_fetched_for_groups_with_a_slot_and_open_ones_are_counted_for_the_others(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    free, full = group_of(queue="free"), group_of("payment")
    full.open_chunks = 4
    chunks.counts = [3]
    chunks.answers = [Fetched((entry(1),), open_chunks=2, waiting=10)]
    [chunk] = fetcher.fetch([full, free])
    assert ([full.group], 3) == (chunks.counted, full.open_chunks)
    assert (free, 2, 5, True) == (chunk.state, free.open_chunks, chunk.more, chunk.is_direct)


def test_groups_that_were_full_fetch_if_a_chunk_ended(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    state = group_of()
    state.open_chunks, chunks.counts, chunks.answers = 4, [0], [Fetched(waiting=0)]
    [chunk] = fetcher.fetch([state])
    assert (0, False) == (chunk.more, chunk.is_direct)


def test_without_a_slot_nothing_is_fetched(fetcher: ChunkFetcher, chunks: Chunks) -> None:
    state = group_of()
    state.open_chunks, chunks.counts = 4, [4]
    assert ([], []) == (fetcher.fetch([state]), chunks.requests)
    assert ([], [state.group]) == (fetcher.fetch([]), chunks.counted)


# -- requests without a reply


def lose(fetcher: ChunkFetcher, chunks: Chunks, *domains: str) -> list[str]:
    """Fetch for these domains without a reply; return the ids of the chunks."""
    chunks.away, before = set(domains), len(chunks.requests)
    with pytest.raises(redis.ConnectionError):
        fetcher.fetch([group_of(domain) for domain in domains])
    chunks.away = set()
    return [request.chunk for request in chunks.requests[before:]]


def test_a_request_without_a_reply_is_requeued_once_before_the_next_fetch(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    [lost] = lose(fetcher, chunks, "order")
    for _ in range(2):
        fetcher.fetch([])
        assert [("order", lost, True)] == chunks.requeued, "unless a process has begun it"


def test_a_request_without_a_reply_is_requeued_before_the_next_advance(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    [lost] = lose(fetcher, chunks, "order")
    assert [] == fetcher.advance([], [])
    assert [("order", lost, True)] == chunks.requeued


def test_if_no_request_can_be_requeued_the_fetch_fails_and_the_next_one_tries_again(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    lost = lose(fetcher, chunks, "order", "payment")
    chunks.away = {"order", "payment"}
    with pytest.raises(redis.ConnectionError, match="order is away"):
        fetcher.fetch([])
    chunks.away = set()
    fetcher.fetch([])
    assert lost == [chunk for _, chunk, _ in chunks.requeued]


def test_an_unreachable_cluster_node_keeps_its_requests_and_holds_up_no_other(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    _, other = lose(fetcher, chunks, "order", "payment")
    chunks.away = {"order"}
    fetcher.fetch([])
    assert [other] == [chunk for _, chunk, _ in chunks.requeued]
    chunks.away = set()
    fetcher.fetch([])
    assert ["payment", "order"] == [domain for domain, _, _ in chunks.requeued]


def test_a_reply_of_an_unreachable_node_is_no_answer(fetcher: ChunkFetcher, chunks: Chunks) -> None:
    order, payment = group_of("order"), group_of("payment")
    chunks.answers = [Fetched(is_unknown=True), Fetched(waiting=0)]
    assert [FEW, 0] == [chunk.more for chunk in fetcher.fetch([order, payment])]
    fetcher.fetch([])
    assert [("order", chunks.requests[0].chunk, True)] == chunks.requeued


def test_a_chunk_that_may_have_been_opened_by_an_advance_is_requeued(
    fetcher: ChunkFetcher, chunks: Chunks
) -> None:
    groups = [group_of(domain).group for domain in ("order", "payment", "item")]
    made = [NewChunk(f"of {group.domain}", "0-0", "1-0", 1) for group in groups]
    moves = [
        Advance(group, "0-0", "1-0", 1, (), chunk)
        for group, chunk in zip(groups, [None, *made[1:]], strict=True)
    ]
    requests = [ChunkRequest(group, chunk.id, 1) for group, chunk in zip(groups, made, strict=True)]
    chunks.advanced = [Advanced(True), Advanced(is_unknown=True), Advanced(True)]
    assert chunks.advanced == fetcher.advance(moves, requests[1:])
    fetcher.fetch([])
    assert [("payment", "of payment", True)] == chunks.requeued


@pytest.mark.parametrize(("chunk", "remaining"), [("queued", 1), ("begun", 2)])
def test_a_requeued_chunk_is_open_no_longer_unless_a_process_has_begun_it(
    fetcher: ChunkFetcher, chunk: str, remaining: int
) -> None:
    state = group_of()
    state.open_chunks = 2
    fetcher.requeue(state, chunk)
    assert remaining == state.open_chunks
