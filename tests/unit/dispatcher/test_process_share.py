"""How many processes a slow handler may hold while others may need one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import Event
from celeriac.delivery import FetchResult, Group
from celeriac.delivery.fetch_size import FetchSize
from celeriac.dispatcher.group_state import OPEN_CHUNKS, GroupState
from celeriac.dispatcher.process_share import SLOW_CHUNKS, ProcessShare, processes_for_slow
from celeriac.handler import Handler, HandlerOptions, make_handler
from celeriac.registry import WorkerRecord
from celeriac.settings import Settings

SLOW, FAST = 5_000_000, 1_000  # µs


def named(name: str, **options: Any) -> Handler:
    def function(event: Event[Any]) -> None: ...

    return make_handler(
        function, ("order.placed",), HandlerOptions(name=name, **options), service="billing"
    )


def group(handler: Handler) -> Group:
    return handler.group("order")


def held(mean_us: int, everywhere: int, here: int = 0) -> FetchResult:
    return FetchResult(mean_us=mean_us, in_flight=everywhere, in_flight_here=here)


class Known:
    """A share, and the groups that it was given."""

    def __init__(self) -> None:
        self.share = ProcessShare(Settings.load({}))
        self._groups: dict[Group, GroupState] = {}

    def state(self, handler: Handler, group: Group) -> GroupState:
        if group not in self._groups:
            of = self.share.handler(handler.id)
            self._groups[group] = GroupState(group, handler, of, FetchSize(100))
            of.groups.append(self._groups[group])
        return self._groups[group]

    def note(self, handler: Handler, group: Group, taken: FetchResult) -> bool:
        return self.share.note(self.state(handler, group), taken)

    def available_slots(self, handler: Handler, group: Group) -> int | None:
        return self.share.available_slots(self.state(handler, group))

    def reserves_processes(self, handler: Handler, group: Group) -> bool:
        return self.share.reserves_processes(self.state(handler, group))

    def took(self, group: Group, deliveries: int) -> None:
        self.share.took(self._groups[group], deliveries)

    def turn_of(self, group: Group) -> int:
        return self.share.turn_of(self._groups[group])


def share(
    *handlers: tuple[Handler, int, int], processes: int = 3, here: int | None = None
) -> Known:
    """Has each handler's mean and what other workers hold of it; slow ones may hold so many
    processes, and so many of this worker's."""
    made = Known()
    made.share.here = here
    made.share.processes = {handler.id: processes for handler, _, _ in handlers}
    for handler, mean_us, everywhere in handlers:
        made.note(handler, group(handler), held(mean_us, everywhere))
    return made


def test_a_fast_handler_has_no_bound_but_the_usual_one() -> None:
    fast, slow = named("fast"), named("slow")
    assert share((fast, FAST, 500), (slow, SLOW, 0)).available_slots(fast, group(fast)) is None


def test_a_slow_one_leaves_processes_free() -> None:
    fast, slow = named("fast"), named("slow")
    assert share((fast, FAST, 0), (slow, SLOW, 0)).available_slots(slow, group(slow)) == 3
    assert share((fast, FAST, 0), (slow, SLOW, 2)).available_slots(slow, group(slow)) == 1
    assert share((fast, FAST, 0), (slow, SLOW, 9)).available_slots(slow, group(slow)) == 0


def test_slow_ones_share_what_they_may_hold() -> None:
    """Two of them together do not hold all either."""
    fast, one, two = named("fast"), named("one"), named("two")
    found = share((fast, FAST, 0), (one, SLOW, 2), (two, SLOW, 0))
    assert found.available_slots(two, group(two)) == 1
    found.took(group(two), 1)
    assert found.available_slots(one, group(one)) == found.available_slots(two, group(two)) == 0


def test_the_one_that_waited_longest_is_served_first() -> None:
    fast, one, two = named("fast"), named("one"), named("two")
    found = share((fast, FAST, 0), (one, SLOW, 0), (two, SLOW, 0))
    found.took(group(one), 1)
    found.took(group(two), 1)
    found.took(group(one), 1)
    order = sorted([group(one), group(two), group(fast)], key=found.turn_of)
    assert order == [group(fast), group(two), group(one)]


def test_a_fast_one_waits_for_no_slow_one_whether_that_was_served_or_not() -> None:
    fast, one, two = named("fast"), named("one"), named("two")
    found = share((fast, FAST, 0), (one, SLOW, 0), (two, SLOW, 0))
    found.took(group(one), 1)
    turns = {handler.name: found.turn_of(group(handler)) for handler in (fast, one, two)}
    assert turns["fast"] <= turns["two"] < turns["one"]


def test_where_all_are_slow_nothing_is_left_free() -> None:
    one, two = named("one"), named("two")
    assert share((one, SLOW, 3), (two, SLOW, 0)).available_slots(two, group(two)) is None


def test_a_handler_alone_has_all_processes() -> None:
    slow = named("slow")
    assert share((slow, SLOW, 3)).available_slots(slow, group(slow)) is None


def test_one_that_was_not_measured_yet_does_not_hold_all_by_itself() -> None:
    fast, new = named("fast"), named("new")
    assert share((fast, FAST, 0), (new, 0, 2)).available_slots(new, group(new)) == 1


def test_without_a_spare_process_it_has_one_delivery_until_it_is_measured() -> None:
    """What was queued before that would delay others, if it proved to be slow."""
    fast, new = named("fast"), named("new")
    found = share((fast, FAST, 0), (new, 0, 0), processes=0, here=0)
    assert found.available_slots(new, group(new)) == 1
    found.took(group(new), 1)
    assert found.available_slots(new, group(new)) == 0
    found.note(new, group(new), held(FAST, 1, 1))
    assert found.available_slots(new, group(new)) is None


def test_each_worker_leaves_processes_of_its_own_free() -> None:
    """Whatever there is room for elsewhere; and what others hold takes nothing from it."""
    fast, slow, other = named("fast"), named("slow"), named("other")
    found = share((fast, FAST, 0), (slow, SLOW, 0), (other, SLOW, 0), processes=6, here=2)
    assert found.available_slots(slow, group(slow)) == 2
    found.note(other, group(other), held(SLOW, 3, here=1))
    assert found.available_slots(slow, group(slow)) == 1
    found.took(group(slow), 1)
    assert (
        found.available_slots(slow, group(slow)) == found.available_slots(other, group(other)) == 0
    )
    found.note(other, group(other), held(FAST, 3, here=1))
    assert found.available_slots(slow, group(slow)) == 1


def test_a_worker_with_none_to_spare_leaves_slow_ones_to_those_that_have() -> None:
    fast, slow, new = named("fast"), named("slow"), named("new")
    found = share((fast, FAST, 0), (slow, SLOW, 0), (new, 0, 0), processes=3, here=0)
    assert found.available_slots(slow, group(slow)) == found.available_slots(new, group(new)) == 0


def test_without_a_spare_process_each_worker_has_one_slow_delivery() -> None:
    """A fast one then waits for one slow one, and not for all that are queued."""
    fast, slow, other = named("fast"), named("slow"), named("other")
    found = share((fast, FAST, 0), (slow, SLOW, 5), (other, SLOW, 0), processes=0, here=0)
    assert found.available_slots(slow, group(slow)) == 1
    found.note(other, group(other), held(SLOW, 1, here=1))
    assert found.available_slots(slow, group(slow)) == 0
    assert found.available_slots(fast, group(fast)) is None


def test_a_dispatcher_without_a_pool_is_bound_by_what_all_may_hold_alone() -> None:
    fast, slow = named("fast"), named("slow")
    found = share((fast, FAST, 0), (slow, SLOW, 0))
    found.note(slow, group(slow), held(SLOW, 2, here=2))
    assert found.available_slots(slow, group(slow)) == 1
    assert (
        share((fast, FAST, 0), (slow, SLOW, 5), processes=0).available_slots(slow, group(slow))
        is None
    )


@pytest.mark.parametrize(
    ("processes", "here", "everywhere", "slots"),
    [
        # One process for slow handlers in all workers: this worker has it, or another one.
        (1, 1, 0, 1),
        (1, 1, 1, 0),
        (1, 0, 0, 0),
        (1, None, 0, 1),
        # None in any worker: one delivery in each.
        (0, 0, 0, 1),
        (0, 0, 5, 1),
        (0, None, 5, None),
        # More are in flight than the processes that are left after a worker ended.
        (2, 2, 5, 0),
    ],
)
def test_the_slots_of_a_slow_handler(
    processes: int, here: int | None, everywhere: int, slots: int | None
) -> None:
    fast, slow = named("fast"), named("slow")
    found = share((fast, FAST, 0), (slow, SLOW, everywhere), processes=processes, here=here)
    assert slots == found.available_slots(slow, group(slow))


def test_a_handler_that_no_worker_was_counted_for_runs_one_slow_delivery_here() -> None:
    """It was added after the workers were read."""
    fast, slow, new = named("fast"), named("slow"), named("new")
    found = share((fast, FAST, 0), (slow, SLOW, 5), processes=5, here=3)
    found.note(new, group(new), held(SLOW, 0))
    assert found.available_slots(new, group(new)) == 1


@pytest.mark.parametrize(
    ("mean_us", "has_others", "slots"),
    [(FAST, True, 2 * OPEN_CHUNKS), (0, True, 1), (0, False, 2 * OPEN_CHUNKS)],
)
def test_the_open_chunks_of_a_group_in_a_worker_with_two_processes(
    mean_us: int, has_others: bool, slots: int
) -> None:
    handler, other = named("h"), named("other")
    found = share((handler, mean_us, 0), *([(other, FAST, 0)] if has_others else []))
    state, opened = found.state(handler, group(handler)), 0
    while found.share.has_slot(state, 2):
        opened += 1
        state.open_chunks = opened
    assert slots == opened


@pytest.mark.parametrize(("here", "slots"), [(None, 1), (0, 1), (1, 1), (3, 3)])
def test_an_unmeasured_group_opens_a_chunk_for_each_process_that_slow_handlers_may_occupy(
    here: int | None, slots: int
) -> None:
    handler, other = named("h"), named("other")
    found = share((handler, 0, 0), (other, FAST, 0))
    found.share.here = here
    state = found.state(handler, group(handler))
    opened = 0
    while found.share.has_slot(state, 4):
        opened += 1
        state.open_chunks = opened
    assert slots == opened


@pytest.mark.parametrize(
    ("mean_us", "other_us", "turns"),
    [(SLOW, FAST, True), (FAST, FAST, False), (FAST, SLOW, False), (SLOW, SLOW, False)],
)
def test_a_slow_handler_takes_turns_if_another_one_is_fast(
    mean_us: int, other_us: int, turns: bool
) -> None:
    handler, other = named("h"), named("other")
    found = share((handler, mean_us, 0), (other, other_us, 0))
    assert turns is found.share.takes_turns(found.state(handler, group(handler)))


def test_the_slots_of_a_slow_handler_are_held_by_slow_ones_and_those_of_a_fast_one_by_itself() -> (
    None
):
    fast, idle, one, two = named("fast"), named("idle"), named("one"), named("two")
    found = share((fast, FAST, 3), (idle, SLOW, 0), (one, SLOW, 1), (two, SLOW, 2))
    states = {handler.name: found.state(handler, group(handler)) for handler in (fast, one, two)}
    found.note(fast, fast.group("payment"), held(FAST, 0))
    assert [states["fast"]] == found.share.holding(states["fast"].of)
    assert [states["one"], states["two"]] == found.share.holding(states["one"].of)


def test_what_has_to_leave_room_for_others_stays_in_this_worker() -> None:
    fast, slow, new = named("fast"), named("slow"), named("new")
    found = share((fast, FAST, 0), (slow, SLOW, 0), (new, 0, 0))
    assert [found.reserves_processes(one, group(one)) for one in (fast, slow, new)] == [
        False,
        True,
        True,
    ]
    assert not share((slow, SLOW, 0)).reserves_processes(slow, group(slow))


def test_becoming_slow_is_logged_once() -> None:
    fast, other = named("fast"), named("other")
    found = share((fast, FAST, 0), (other, FAST, 0))
    assert found.note(other, group(other), held(SLOW, 4))
    assert not found.note(other, group(other), held(SLOW, 4))
    assert not found.note(other, group(other), held(FAST, 4))
    assert found.available_slots(other, group(other)) is None


def test_a_batch_holds_a_process_for_all_its_events() -> None:
    def function(events: list[Event[Any]]) -> None: ...

    batch = make_handler(
        function, ("order.placed",), HandlerOptions(name="b", batch=100), service="billing"
    )
    assert share((batch, 10_000, 0)).share.is_slow("billing.b")


@pytest.mark.parametrize(
    ("chunks", "slow"), [(SLOW_CHUNKS - 0.01, False), (SLOW_CHUNKS, True), (SLOW_CHUNKS + 1, True)]
)
def test_a_handler_is_slow_from_the_run_time_of_four_chunks(chunks: float, slow: bool) -> None:
    handler = named("h")
    mean_us = int(chunks * Settings.load({}).chunk_time * 1e6)
    assert (4, slow) == (SLOW_CHUNKS, share((handler, mean_us, 0)).share.is_slow(handler.id))


def test_concurrency_bounds_a_handler_whatever_its_speed() -> None:
    fast, other = named("fast", concurrency=2), named("other")
    assert share((fast, FAST, 1), (other, FAST, 0)).available_slots(fast, group(fast)) == 1
    assert share((fast, FAST, 2), (other, FAST, 0)).available_slots(fast, group(fast)) == 0
    assert share((fast, FAST, 0)).available_slots(fast, group(fast)) == 2


def test_concurrency_is_over_all_domains_of_the_handler() -> None:
    handler = named("h", concurrency=2)
    found = share((handler, FAST, 1))
    found.note(handler, handler.group("payment"), held(FAST, 1))
    assert found.available_slots(handler, group(handler)) == 0


def test_a_group_that_is_served_no_more_is_in_no_way() -> None:
    fast, slow, other = named("fast"), named("slow"), named("other")
    found = share((fast, FAST, 0), (slow, SLOW, 0), (other, SLOW, 0), here=2)
    found.note(slow, group(slow), held(SLOW, 3, here=2))
    found.share.drop(found.state(slow, group(slow)))
    assert (2, False) == (found.available_slots(other, group(other)), found.share.is_slow(slow.id))
    # Another group of the handler is slow: it counts, and the dropped one does not.
    found.note(slow, slow.group("payment"), held(SLOW, 1, here=1))
    assert found.available_slots(other, group(other)) == 1


def test_a_dropped_group_of_a_limited_handler_holds_no_slot() -> None:
    handler = named("h", concurrency=2)
    found = share((handler, FAST, 2))
    found.share.drop(found.state(handler, group(handler)))
    assert found.available_slots(handler, group(handler)) == 2


def worker(name: str, processes: int, *handlers: str, queues: tuple[str, ...] = ("q",)) -> Any:
    return WorkerRecord(
        name=name, service="billing", hostname="h", pid=1, pool="prefork", processes=processes,
        queues=queues, handlers=handlers, version="0",
    )  # fmt: skip


@pytest.mark.parametrize(("spare", "slow"), [(0, 6), (1, 4), (2, 2), (5, 0)])
def test_each_worker_spares_its_own(spare: int, slow: int) -> None:
    workers = [worker("a", 2, "b.c"), worker("b", 4, "b.c"), worker("c", 8, "b.other")]
    assert processes_for_slow(workers, ("a", 2), ["b.c"], spare) == {"b.c": slow}


def test_a_worker_that_has_not_beaten_yet_counts_itself() -> None:
    assert processes_for_slow([], ("a", 3), ["b.c"], 1) == {"b.c": 2}


def test_a_dispatcher_without_processes_counts_for_nothing() -> None:
    workers = [worker("d", 0, "b.c", queues=())]
    assert processes_for_slow(workers, ("a", 2), ["b.c"], 1) == {"b.c": 1}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.booleans(), st.integers(0, 9))))
def test_deliveries_of_slow_handlers_are_counted_when_any_becomes_slow_or_fast(
    notes: list[tuple[int, int, bool, int]],
) -> None:
    """Each note is of a handler and one of its domains: is it slow there, and what does it hold."""
    handlers, fast = [named(f"h{n}") for n in range(4)], named("fast")
    known: dict[Group, tuple[bool, int]] = {}
    found = share(
        (fast, FAST, 0), *((handler, FAST, 0) for handler in handlers), processes=100, here=40
    )
    for number, domain, slow, count in notes:
        one = handlers[number].group(f"d{domain}")
        known[one] = (slow, count)
        found.note(handlers[number], one, held(SLOW if slow else FAST, count, here=count // 2))
    slow_ones = {one.handler for one, (slow, _) in known.items() if slow}
    held_by_slow = sum(count for one, (_, count) in known.items() if one.handler in slow_ones)
    here = sum(count // 2 for one, (_, count) in known.items() if one.handler in slow_ones)
    for handler in handlers:
        room = found.available_slots(handler, handler.group("order"))
        bound = max(0, min(100 - held_by_slow, 40 - here))
        assert room == (bound if handler.id in slow_ones else None)
