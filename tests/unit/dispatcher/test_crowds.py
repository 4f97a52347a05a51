"""A domain that many lanes share: one reading serves all, and nothing wanted is passed over.

Time passes by an hour at each look at the clock, so every turn looks at what rests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.dispatcher import Dispatcher, crowds
from celeriac.dispatcher.agenda import NEVER
from celeriac.dispatcher.crowds import CROWD
from celeriac.ledger import Ask, Delivery, Lane, Stretch, Taken
from celeriac.testing.store import Store
from tests.unit.delivery_task import run_task
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent

MANY = 12


class Asked:
    """Whom `take` was asked for since it was looked at last."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self._names: list[str] = []
        take = store.ledger.take

        def noted(worker: str, asks: Sequence[Ask]) -> list[Taken]:
            self._names += [ask.lane.handler.partition(".")[2] for ask in asks]
            return take(worker, asks)

        monkeypatch.setattr(store.ledger, "take", noted)

    def names(self) -> list[str]:
        names, self._names = self._names, []
        return names


@pytest.fixture
def asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(store, monkeypatch)


def handle(event: Event) -> None: ...


@pytest.fixture
def crowd(bus: EventBus, dispatcher: MakeDispatcher, asked: Asked) -> Dispatcher:
    """A handler for each of the types `order.t0` …; all of them have been asked for."""
    for number in range(MANY):
        bus.on(f"order.t{number}", name=f"h{number}", backoff=0.0, jitter=0.0)(handle)
    made = dispatcher()
    bus.emit("order.other", id="first")
    ring(made)
    ring(made)
    asked.names()
    return made


def ring(dispatcher: Dispatcher) -> None:
    """A turn for what rang meanwhile."""
    dispatcher.turn(dispatcher._wait(0.0))


def behind(store: Store) -> dict[str, int | None]:
    groups = store.log.groups("order")
    return {group.handler: group.lag for group in groups if group.lag or group.pending}


def test_only_who_wants_it_is_asked_for_and_the_others_are_moved_on(
    bus: EventBus, crowd: Dispatcher, sent: Sent, asked: Asked, store: Store
) -> None:
    before = store.ledger.stats(Lane("order", "billing.h4"))
    bus.emit("order.t3", id="a")
    ring(crowd)
    assert ([["a"]], ["h3"]) == (sent.ids, asked.names())
    assert ["billing.h3"] == list(behind(store))
    assert before == store.ledger.stats(Lane("order", "billing.h4"))


def test_nobody_is_asked_for_where_nobody_wants_it(
    bus: EventBus, crowd: Dispatcher, asked: Asked, store: Store
) -> None:
    for n in range(50):
        bus.emit("order.other", id=str(n))
        ring(crowd)
    assert ([], {}) == (asked.names(), behind(store))


def test_what_is_wanted_comes_in_one_turn_however_much_is_before_it(
    bus: EventBus, crowd: Dispatcher, sent: Sent, store: Store
) -> None:
    for n in range(300):
        bus.emit("order.other", id=str(n))
    bus.emit("order.t0", id="a")
    for n in range(300, 600):
        bus.emit("order.other", id=str(n))
    bus.emit("order.t0", id="b")
    ring(crowd)
    assert [["a"], ["b"]] == sent.ids


def test_none_is_lost_whatever_comes_in_whatever_order(
    bus: EventBus, crowd: Dispatcher, sent: Sent, store: Store
) -> None:
    types = [f"order.t{n * n % 17}" for n in range(200)]
    handled = []
    for n, kind in enumerate(types):
        bus.emit(kind, id=f"e{n}")
        if n % 7 == 0:
            ring(crowd)
    for _ in range(300):
        ring(crowd)
        for chunk in sent:
            run_task(bus.service, chunk)
            handled += [(chunk.handler.name, item.event.id) for item in chunk.items]
        sent.clear()
    wanted = [(f"h{n * n % 17}", f"e{n}") for n in range(200) if n * n % 17 < MANY]
    assert sorted(wanted) == sorted(handled)
    assert {} == behind(store)


def test_what_is_due_is_found_at_the_bell(
    bus: EventBus, crowd: Dispatcher, sent: Sent, asked: Asked, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    ring(crowd)
    sent.clear()
    asked.names()
    assert 1 == store.ledger.hand_back(bus.service.worker, Lane("order", "billing.h3"))
    ring(crowd)
    ring(crowd)
    assert [["a"]] == sent.ids
    assert {"h3"} == set(asked.names())


def test_a_lease_that_is_over_is_found(
    bus: EventBus, crowd: Dispatcher, sent: Sent, asked: Asked, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    ring(crowd)
    sent.clear()
    store.clock.advance(store.ledger.lease_ms)
    ring(crowd)
    ring(crowd)
    assert [["a"]] == sent.ids
    assert {"h3"} == set(asked.names())


def test_a_group_that_is_gone_is_joined_again(
    bus: EventBus, crowd: Dispatcher, sent: Sent, store: Store
) -> None:
    store.log.leave("order", "billing.h3")
    ring(crowd)
    ring(crowd)
    bus.emit("order.t3", id="a")
    ring(crowd)
    assert [["a"]] == sent.ids


def test_what_only_newer_code_wants_is_left_to_it(
    bus: EventBus, crowd: Dispatcher, sent: Sent, store: Store
) -> None:
    store.ledger.note_patterns(Lane("order", "billing.h3"), ["order.t3", "order.new"])
    bus.emit("order.new", id="a")
    for _ in range(3):
        ring(crowd)
    assert ["billing.h3"] == list(behind(store))
    assert [] == sent


def test_a_group_that_was_set_back_is_given_all_of_it_again(
    bus: EventBus, crowd: Dispatcher, sent: Sent, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    bus.emit("order.t4", id="b")
    ring(crowd)
    for chunk in sent:
        run_task(bus.service, chunk)
    sent.clear()
    with store.log.lock:
        store.log.store["order"].groups["billing.h3"].last = (0, 0)
    for _ in range(3):
        ring(crowd)
    assert [["a"]] == sent.ids


def test_where_no_crowd_is_left_each_is_looked_at_by_itself(
    bus: EventBus, crowd: Dispatcher, sent: Sent, store: Store
) -> None:
    bus.emit("order.t0", id="a")
    ring(crowd)
    sent.clear()
    for number in range(CROWD - 1, MANY):
        store.registry.unregister(f"billing.h{number}")
        store.log.leave("order", f"billing.h{number}")
    for _ in range(3):
        ring(crowd)
    assert "order" not in crowd._crowds
    store.clock.advance(store.ledger.lease_ms)
    ring(crowd)
    assert [["a"]] == sent.ids


@pytest.mark.parametrize(
    ("bound", "before", "gave_all"),
    [
        ({"limit": 10}, {"queued": 7}, True),
        ({"limit": 10}, {"queued": 8}, False),
        ({"limit": 10, "most_new": 2}, {}, False),
        ({"limit": 10, "most_held": 6}, {"held": 4}, False),
        ({"limit": 10, "most_held": 7}, {"held": 4}, True),
    ],
)
def test_a_lane_that_was_filled_up_to_a_bound_may_have_more_waiting(
    bound: dict[str, Any], before: dict[str, Any], gave_all: bool
) -> None:
    taken = Taken((Delivery("1-0", b"", 0), Delivery("2-0", b"", 0)), **before)
    assert gave_all is crowds._gave_all(Ask(Lane("order", "billing.h0"), **bound), taken)


def test_a_large_crowd_is_looked_at_in_parts(
    bus: EventBus, dispatcher: MakeDispatcher, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowds, "PART", 5)
    for number in range(MANY):
        bus.on(f"order.t{number}", name=f"h{number}")(handle)
    made = dispatcher()
    sizes: list[int] = []
    pass_over = store.ledger.pass_over

    def noted(unwanted: Sequence[Stretch]) -> list[Lane]:
        sizes.append(len(unwanted))
        return pass_over(unwanted)

    monkeypatch.setattr(store.ledger, "pass_over", noted)
    looked = [made._crowds._look_at[part] for part in sorted(made._crowds._look_at)]
    assert 3 == len(looked)
    made._crowds._look_at["order", 0] = made._crowds._look_at["order", 1] = NEVER
    bus.emit("order.other", id="a")
    ring(made)
    ring(made)
    assert {2} == set(sizes)
