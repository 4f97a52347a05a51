"""Which domains a reader reads for all their groups, and how much of them at once."""

from __future__ import annotations

import pytest

from celeriac.dispatcher import domain_reader
from celeriac.dispatcher.domain_reader import ReadResult
from celeriac.dispatcher.domain_reading import PAGE
from celeriac.dispatcher.group_state import NEVER
from celeriac.dispatcher.poll_interval import BUSY
from celeriac.event_log import Entry
from tests.unit.dispatcher.domain_readers import World, wait_for
from tests.unit.dispatcher.readings import entry


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Without jitter."""
    monkeypatch.setattr("celeriac.dispatcher.domain_reader.random.uniform", lambda a, b: b)
    return World()


# -- which domains are read


def test_a_domain_of_four_groups_is_read_and_a_smaller_one_is_not(world: World) -> None:
    few = world.serve("few", groups=3)
    for state in few:
        state.is_shared = True
    world.serve("many")
    assert ("many" in world.reader, "few" in world.reader) == (True, False)
    assert [False] * 3 == [state.is_shared for state in few]


def test_a_reading_begins_at_the_newest_entry_and_continues_where_it_was(world: World) -> None:
    world.log.empty.add("new")
    world.serve("order", "new")
    assert ("10-0", "0-0") == (world.reading().upto, world.reading("new").upto)
    before = world.reading()
    world.serve("other")
    assert before is world.reading()


def test_a_wakeup_is_for_the_named_domains_or_for_all(world: World) -> None:
    world.serve("a", "b")
    world.reader.wake(["a", "unknown"])
    assert [True, False] == [world.reading(domain).is_behind for domain in "ab"]
    world.reader.wake(None)
    assert world.reading("b").is_behind


@pytest.mark.parametrize(
    ("is_behind", "is_shared", "waits", "is_full", "pause"),
    [
        (True, True, False, False, 0.0),
        (True, False, False, False, NEVER),
        (False, True, False, False, NEVER),
        (False, True, True, False, BUSY),
        (True, True, True, False, 0.0),
        (True, True, True, True, BUSY),
    ],
)
def test_the_reader_reads_again_at_once_if_there_may_be_more(
    world: World, monkeypatch: pytest.MonkeyPatch, is_behind: bool, is_shared: bool, waits: bool,
    is_full: bool, pause: float,
) -> None:  # fmt: skip
    states = world.serve("order")
    for state in states:
        state.is_shared = is_shared
    if waits:
        wait_for(world, states[0], 11)
    monkeypatch.setattr(domain_reader, "MAX_AHEAD", 1 if is_full else 2)
    world.reading().is_behind = is_behind
    assert pause == world.reader.pause()


@pytest.mark.parametrize(("bytes_limit", "pause"), [(1600, 0.0), (1599, BUSY), (1500, BUSY)])
def test_no_more_is_read_while_the_prefetched_entries_are_large(
    world: World, monkeypatch: pytest.MonkeyPatch, bytes_limit: int, pause: float
) -> None:
    """Two of 400 bytes in each of two domains."""
    for states in (world.serve("a"), world.serve("b")):
        wait_for(world, states[0], 11, 12)
    for domain in "ab":
        world.reading(domain).size.mean_bytes = 400.0
        world.reading(domain).is_behind = True
    monkeypatch.setattr(domain_reader, "MAX_AHEAD_BYTES", bytes_limit + 1)
    assert pause == world.reader.pause()


# -- reading


def test_new_entries_of_all_domains_are_read_in_one_round_trip_until_there_are_no_more(
    world: World,
) -> None:
    world.serve("a", "b", "c")
    world.reader.wake(["a", "b"])
    world.read()
    [pages] = world.log.pages
    assert [("a", "10-0"), ("b", "10-0")] == [page[:2] for page in pages]
    assert [False, False] == [world.reading(domain).is_behind for domain in "ab"]
    world.read()
    assert 1 == len(world.log.pages)


def test_four_pages_of_a_domain_are_read_in_one_iteration(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain_reader, "MAX_READ", 100_000)
    monkeypatch.setattr("celeriac.dispatcher.domain_reading.PAGE", 2)
    world.serve("order")
    reading = world.reading()
    reading.size.max_events = 2
    world.log.following["order"] = [entry(n, "order.other") for n in range(11, 31)]
    reading.is_behind = True
    world.read(separate=world.states["order"])
    assert ([2] * 4, "18-0", True) == (
        [count for [(_, _, count)] in world.log.pages], reading.upto, reading.is_behind
    )  # fmt: skip


def test_the_entries_of_one_iteration_are_shared_among_the_domains(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain_reader, "MAX_READ", 400)
    world.serve("a", "b")
    for domain in "ab":
        world.log.following[domain] = [entry(n, f"{domain}.x") for n in range(11, 1000)]
        world.reading(domain).size.mean_bytes = 1.0
    world.reader.wake(None)
    world.reader._read_pages(ReadResult())
    assert [200, 200] == [count for _, _, count in world.log.pages[0]]
    assert ["210-0", "210-0"] == [world.reading(domain).upto for domain in "ab"]
    assert 1 == len(world.log.pages), "no more in this iteration"


def test_with_many_domains_a_page_is_not_too_small(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain_reader, "MAX_READ", 60)
    world.serve("a", "b")
    for domain in "ab":
        world.reading(domain).size.mean_bytes = 1.0
    world.reader.wake(None)
    world.read()
    assert [50, 50] == [count for _, _, count in world.log.pages[0]]
    assert PAGE == world.reading("a").size.max_events


def test_an_unreachable_domain_is_read_again_at_the_next_poll_and_holds_up_no_other(
    world: World,
) -> None:
    world.serve("away", "order")
    world.log.following = {"away": None, "order": [entry(11, "order.x")]}
    world.reader.wake(None)
    world.read()
    away = world.reading("away")
    assert ("11-0", False, True) == (world.reading().upto, away.is_behind, away.is_away)
    world.poll()
    assert (True, False) == (away.is_behind, away.is_away)


def test_after_an_entry_that_is_no_event_each_group_fetches_separately(world: World) -> None:
    states = world.serve("order")
    world.log.following["order"] = [entry(11), Entry("12-0", b"?")]
    world.reader.wake(None)
    read = world.read()
    assert (states, [False] * 4) == (read.leaving, [state.is_shared for state in states])
