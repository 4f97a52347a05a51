"""When a dispatcher fetches new deliveries in chunks, and when it polls their groups again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from celeriac.delivery.chunk_store import ChunkRequest, Fetched
from celeriac.delivery.repetition import Repetitions
from celeriac.dispatcher.domain_reader import ReadResult
from celeriac.dispatcher.fetching import FetchedChunk
from celeriac.dispatcher.group_state import NEVER, NOW, GroupState
from celeriac.dispatcher.group_table import poll_at
from celeriac.dispatcher.new_deliveries import NewDeliveries
from celeriac.dispatcher.poll_interval import BUSY
from celeriac.event import build_event, encode
from celeriac.event_log import Entry, EntryKind
from tests.unit.dispatcher.parts import POLL_INTERVAL, Parts

AT = 100.0
SLOW = 10_000_000


def entry(number: int, kind: EntryKind = EntryKind.MADE, type: str = "order.placed") -> Entry:
    return Entry(f"{number}-0", encode(build_event(type, None, source="s", id=f"e{number}")), kind)


class Fetcher:
    """Has slots for groups without an open chunk, and fetches `chunks`."""

    def __init__(self) -> None:
        self.asked: list[GroupState] = []
        self.chunks: list[FetchedChunk] = []
        self.repeated = Repetitions()
        self.requeued: list[str] = []
        self.completed: list[tuple[str, Any]] = []
        self.is_due = False

    def fetch(self, states: Sequence[GroupState]) -> list[FetchedChunk]:
        self.asked = list(states)
        return self.chunks

    def has_slot(self, state: GroupState) -> bool:
        return state.open_chunks == 0

    def requeue(self, state: GroupState, chunk: str) -> None:
        self.requeued.append(chunk)

    def repetitions(self, chunk: FetchedChunk, filtered: Any) -> Repetitions:
        return self.repeated

    def complete(self, chunk: FetchedChunk, filtered: Any, repeated: Any) -> bool:
        self.completed.append((chunk.request.chunk, repeated))
        return self.is_due


class World:
    """The new deliveries of a dispatcher's parts."""

    def __init__(self) -> None:
        self.parts, self.fetcher, self.read = Parts(), Fetcher(), ReadResult()
        fetcher: Any = self.fetcher
        self.new = NewDeliveries(self.parts.context, fetcher, lambda queue: None)
        reader: Any = self.parts.reader
        reader.read = lambda may_share, wants, capacity: self.read
        reader.poll = lambda now, may_share: self.read

    def chunk(self, state: GroupState, *entries: Entry, more: int = 0, **fields: Any) -> None:
        """Let this chunk be fetched next for the group."""
        given = {"position": "9-0", "mean_us": 1000, "open_chunks": 1, **fields}
        request = ChunkRequest(state.group, f"of {state.group.domain}", 100)
        fetched = Fetched(entries, **given)
        self.fetcher.chunks.append(FetchedChunk(state, request, fetched, more, False))

    def fetch(self, *states: GroupState) -> list[str]:
        """Fetch; return the ids of the chunks that are sent."""
        self.new.fetch(AT, states)
        self.parts.tasks.flush()
        return [chunk.id for chunk in self.parts.sent]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Without jitter."""
    monkeypatch.setattr("celeriac.dispatcher.group_table.random.uniform", lambda least, most: most)
    return World()


# -- which groups get chunks


def test_a_plain_handler_gets_its_new_deliveries_in_chunks(world: World) -> None:
    assert world.new.wants(world.parts.group())
    assert not world.new.is_full


def leave(parts: Parts, state: GroupState) -> None:
    parts.groups.keep(())


def separate(parts: Parts, state: GroupState) -> None:
    parts.members.separate.add(state.group)


def trial(parts: Parts, state: GroupState) -> None:
    parts.circuits.limits[state.handler.id] = 1


def slow(parts: Parts, state: GroupState) -> None:
    parts.group("order", "fast")
    parts.share.note_run_time(state, SLOW)


@pytest.mark.parametrize("change", [leave, separate, trial, slow])
def test_a_group_whose_deliveries_need_a_decision_each_gets_no_chunk(
    world: World, change: Callable[[Parts, GroupState], None]
) -> None:
    state = world.parts.group()
    change(world.parts, state)
    assert not world.new.wants(state)


def test_a_limited_handler_gets_no_chunk(world: World) -> None:
    assert not world.new.wants(world.parts.group(concurrency=2))


# -- fetching


@pytest.mark.parametrize(
    ("fetch_at", "full_until", "is_shared", "is_fetched"),
    [
        (NOW, NOW, False, True),
        (AT, AT, False, True),
        (AT + 0.1, NOW, False, False),
        (NOW, AT + 0.1, False, False),
        (NOW, NOW, True, False),
    ],
)
def test_a_group_is_fetched_when_it_may_have_new_entries_and_a_slot(
    world: World, fetch_at: float, full_until: float, is_shared: bool, is_fetched: bool
) -> None:
    state = world.parts.group()
    state.fetch_at, state.full_until, state.is_shared = fetch_at, full_until, is_shared
    world.fetch(state)
    assert ([state] if is_fetched else []) == world.fetcher.asked


@pytest.mark.parametrize(("more", "fetch_at"), [(0, NEVER), (1, AT), (40, AT)])
def test_after_a_chunk_a_group_is_fetched_again_if_there_are_more_entries(
    world: World, more: int, fetch_at: float
) -> None:
    state = world.parts.group()
    world.chunk(state, entry(1), more=more, open_chunks=3, patterns=("*.placed",))
    assert ["of order"] == world.fetch(state)
    assert ("9-0", fetch_at, more > 0) == (state.position, state.fetch_at, state.has_backlog)
    assert (3, 1000, ("*.placed",)) == (state.open_chunks, state.mean_us, state.in_force)
    assert [([state.group], more == 0)] == world.parts.reader.fetched


def test_a_group_that_may_not_share_is_not_offered_to_the_reader(world: World) -> None:
    state, other = world.parts.group("order"), world.parts.group("payment")
    world.parts.members.separate.add(state.group)
    world.chunk(state)
    world.chunk(other)
    world.fetch(state, other)
    assert [([other.group], True)] == world.parts.reader.fetched


def test_a_group_that_is_gone_is_joined_again_and_an_unreachable_one_stays_as_it_is(
    world: World,
) -> None:
    gone, away = world.parts.group("order"), world.parts.group("payment")
    world.chunk(gone, removed=True)
    world.chunk(away, is_unknown=True)
    assert [] == world.fetch(gone, away)
    assert [gone.group] == world.parts.members.joined_again
    assert (NOW, "-", []) == (away.fetch_at, away.position, world.parts.reader.fetched)


def test_a_chunk_of_a_group_that_is_no_longer_served_is_not_sent(world: World) -> None:
    state = world.parts.group()
    world.parts.groups.keep(())
    world.chunk(state, entry(1))
    assert [] == world.fetch(state)


def test_what_is_queued_of_a_handler_that_has_become_slow_is_requeued(world: World) -> None:
    state = world.parts.group()
    world.parts.group("order", "fast")
    state.pending_at = 500.0
    world.chunk(state, entry(1), mean_us=SLOW)
    assert [] == world.fetch(state)
    assert ([state.group], ["of order"]) == (world.parts.requeued, world.fetcher.requeued)
    assert NOW == state.pending_at, "its entries are due now"


def test_without_entries_there_is_nothing_to_send_or_complete(world: World) -> None:
    state = world.parts.group()
    world.chunk(state)
    assert ([], []) == (world.fetch(state), world.fetcher.completed)


def test_the_size_and_the_wanted_share_of_entries_are_measured(world: World) -> None:
    state = world.parts.group()
    entries = entry(1), entry(2), entry(3, type="order.paid"), Entry("4-0", None)
    world.chunk(state, *entries)
    world.fetch(state)
    size = sum(len(one.body or b"") for one in entries)
    assert (size / 4, 1 - 0.25 * 0.5) == (state.size.mean_bytes, state.size.wanted_share)


def test_the_sources_of_the_entries_are_recorded(world: World) -> None:
    state = world.parts.group()
    world.chunk(state, entry(1))
    world.fetch(state)
    deliveries: Any = world.parts.deliveries
    world.parts.context.sources.flush(deliveries)
    assert {"order": {"s": 1}} == world.parts.deliveries.sources


@pytest.mark.parametrize(
    ("kind", "repeated", "is_sent"),
    [
        (EntryKind.MADE, Repetitions(), True),
        (EntryKind.FOREIGN, Repetitions(), False),
        (EntryKind.MADE, Repetitions(frozenset({"1-0"})), False),
        (EntryKind.MADE, Repetitions(possible={"1-0": "0-5"}), False),
    ],
)
@pytest.mark.parametrize("is_due", [True, False])
def test_a_chunk_that_may_repeat_an_event_is_completed_and_its_rest_is_due(
    world: World, kind: EntryKind, repeated: Repetitions, is_sent: bool, is_due: bool
) -> None:
    state = world.parts.group()
    state.pending_at, world.fetcher.repeated, world.fetcher.is_due = 500.0, repeated, is_due
    world.chunk(state, entry(1, kind))
    assert (["of order"] if is_sent else []) == world.fetch(state)
    assert ([] if is_sent else [("of order", repeated.certain)]) == world.fetcher.completed
    assert (NOW if is_due and not is_sent else 500.0) == state.pending_at


# -- the next poll


def planned(world: World, state: GroupState) -> None:
    world.new.plan(AT, [state])


@pytest.mark.parametrize(
    ("is_shared", "fetch_at", "pending_at", "poll"),
    [
        (False, 105.0, 103.0, 103.0),
        (False, 102.0, 103.0, 102.0),
        (True, 102.0, 103.0, 103.0),
        (False, NEVER, 103.0, 103.0),
    ],
)
def test_a_group_is_polled_for_new_or_pending_deliveries_whichever_are_first(
    world: World, is_shared: bool, fetch_at: float, pending_at: float, poll: float
) -> None:
    state = world.parts.group()
    state.is_shared, state.fetch_at, state.pending_at = is_shared, fetch_at, pending_at
    planned(world, state)
    assert (poll, NEVER, False) == (state.poll_at, state.idle_until, world.new.is_full)


@pytest.mark.parametrize(
    ("is_shared", "idle_until", "fetch_at"),
    [(True, NEVER, NEVER), (False, AT + POLL_INTERVAL, AT + POLL_INTERVAL)],
)
def test_a_group_that_expects_nothing_is_idle_and_polls_only_if_it_reads_separately(
    world: World, is_shared: bool, idle_until: float, fetch_at: float
) -> None:
    state = world.parts.group()
    state.is_shared, state.fetch_at, state.pending_at = is_shared, NEVER, NEVER
    planned(world, state)
    assert (NEVER, idle_until, fetch_at) == (state.poll_at, state.idle_until, state.fetch_at)


@pytest.mark.parametrize(
    ("full_until", "poll"), [(NOW, AT + BUSY), (AT, AT + BUSY), (AT + 0.3, AT + 0.3)]
)
def test_a_group_without_a_slot_is_polled_when_one_may_be_free(
    world: World, full_until: float, poll: float
) -> None:
    state = world.parts.group()
    state.open_chunks, state.pending_at = 4, NEVER
    state.fetch_at, state.full_until = AT, full_until
    planned(world, state)
    assert (poll, poll, poll) == (state.poll_at, state.fetch_at, state.full_until)
    assert world.new.is_full
    state.open_chunks = 0
    planned(world, state)
    assert not world.new.is_full


def test_a_group_that_expects_no_new_entries_is_not_full(world: World) -> None:
    state = world.parts.group()
    state.open_chunks, state.fetch_at, state.pending_at = 4, AT + 1, NEVER
    planned(world, state)
    assert (AT + 1, False) == (state.poll_at, world.new.is_full)


# -- shared domains


def test_what_was_read_for_all_is_sent_and_groups_that_left_are_fetched(world: World) -> None:
    state, leaving, removed = (world.parts.group(domain) for domain in ("order", "item", "gone"))
    for each in (state, leaving):
        poll_at(each, 500.0)
        each.fetch_at = each.pending_at = 500.0
    world.chunk(state, entry(1))
    world.read = ReadResult(world.fetcher.chunks, [], [leaving], [removed])
    world.new.read()
    world.parts.tasks.flush()
    assert ["of order"] == [chunk.id for chunk in world.parts.sent]
    assert (NOW, 500.0, NOW) == (leaving.fetch_at, leaving.pending_at, leaving.poll_at)
    assert [removed.group] == world.parts.members.joined_again


def test_groups_that_a_poll_found_pending_or_leaving_are_polled_for_that(world: World) -> None:
    pending, leaving, removed = (world.parts.group(domain) for domain in ("order", "item", "gone"))
    for each in (pending, leaving):
        poll_at(each, 500.0)
        each.fetch_at = each.pending_at = 500.0
    world.read = ReadResult([], [pending], [leaving], [removed])
    world.new.advance(AT)
    assert (500.0, NOW, NOW) == (pending.fetch_at, pending.pending_at, pending.poll_at)
    assert (NOW, 500.0, NOW) == (leaving.fetch_at, leaving.pending_at, leaving.poll_at)
    assert [removed.group] == world.parts.members.joined_again
