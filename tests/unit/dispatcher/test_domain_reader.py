"""A domain with many groups at one position: one read serves all, and none misses an entry.

An hour passes at each look at the clock, so every iteration polls idle groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import redis

from celeriac import Event, EventBus
from celeriac.delivery import FetchRequest, FetchResult, Group
from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import ChunkRequest, Fetched
from celeriac.delivery.fetch_size import FEW
from celeriac.dispatcher import Dispatcher, domain_reader
from celeriac.dispatcher.domain_reading import SHARED_FROM
from celeriac.event_log import EntryKind
from celeriac.executor.process import ExecutorProcess
from celeriac.testing.store import Store
from tests.unit.delivery_task import run_task
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent

MANY = 12


class Asked:
    """Which handlers' groups were asked for by themselves since it was looked at last."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self._names: list[str] = []
        take, fetch = store.deliveries.fetch, store.backend.chunks.fetch

        def noted_take(worker: str, asks: Sequence[FetchRequest]) -> list[FetchResult]:
            self._note(ask.group for ask in asks)
            return take(worker, asks)

        def noted_fetch(worker: str, requests: Sequence[ChunkRequest]) -> list[Fetched]:
            self._note(request.group for request in requests)
            return fetch(worker, requests)

        monkeypatch.setattr(store.deliveries, "fetch", noted_take)
        monkeypatch.setattr(store.backend.chunks, "fetch", noted_fetch)

    def _note(self, groups: Iterable[Group]) -> None:
        self._names += [state.handler.partition(".")[2] for state in groups]

    def names(self) -> list[str]:
        names, self._names = self._names, []
        return names


@pytest.fixture
def asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(store, monkeypatch)


def handle(event: Event) -> None: ...


@pytest.fixture
def many(
    bus: EventBus,
    dispatcher: MakeDispatcher,
    asked: Asked,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> Dispatcher:
    """A fast handler for each type `order.t0` …; they are at one position, with no chunk open."""
    # On a loaded machine a measured handler can be slow, and then reads alone.
    monkeypatch.setattr(ExecutorProcess, "note_run_times", lambda *measured: 100)
    for number in range(MANY):
        bus.on(f"order.t{number}", name=f"h{number}", backoff=0.0, jitter=0.0)(handle)
        store.deliveries.handler_store(Group("order", f"billing.h{number}")).stats["mean_us"] = 100
    made = dispatcher()
    bus.emit("order.other", id="first")
    wake(made)
    wake(made)
    for state in made._groups:
        assert state.is_shared
    asked.names()
    return made


def wake(dispatcher: Dispatcher) -> None:
    """An iteration for what the wakeup stream notified."""
    dispatcher.run_once(dispatcher._wait(0.0))


def run_all(bus: EventBus, sent: Sent) -> list[tuple[str, str]]:
    """Run what was sent; return (handler, event id) of each."""
    ran = []
    while sent:
        chunk = sent.pop(0)
        run_task(bus.service, chunk)
        ran += [(chunk.handler.name, item.event.id) for item in chunk.items]
    return ran


def behind(store: Store) -> dict[str, int | None]:
    groups = store.event_log.groups("order")
    return {state.handler: state.lag for state in groups if state.lag or state.pending}


def test_what_one_handler_wants_is_a_chunk_for_it_and_the_others_are_moved_on(
    bus: EventBus, many: Dispatcher, sent: Sent, asked: Asked, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    wake(many)
    assert ([["a"]], []) == (sent.ids, asked.names())
    assert [True] == [bool(chunk.id) for chunk in sent]
    wake(many)
    assert ["billing.h3"] == list(behind(store))
    run_all(bus, sent)
    assert {} == behind(store)


def test_an_event_moves_only_the_groups_that_want_it_and_a_look_moves_all(
    bus: EventBus, dispatcher: MakeDispatcher, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    for number in range(MANY):
        bus.on(f"order.t{number}", name=f"h{number}")(handle)
        store.deliveries.handler_store(Group("order", f"billing.h{number}")).stats["mean_us"] = 100
    made = dispatcher(clock=lambda: now[0])
    wake(made)
    moved: list[str] = []
    advance = store.backend.chunks.advance

    def noted(worker: str, moves: Sequence[Advance]) -> list[Advanced]:
        moved.extend(move.group.handler for move in moves)
        return advance(worker, moves)

    monkeypatch.setattr(store.backend.chunks, "advance", noted)
    for number in (3, 3, 4):
        bus.emit(f"order.t{number}")
        bus.emit("order.other")
        wake(made)
    assert ["billing.h3", "billing.h3", "billing.h4"] == moved
    assert MANY == len(behind(store))
    now[0] += 2.0
    wake(made)
    assert {"billing.h3", "billing.h4"} == set(behind(store)), "their chunks are open"
    assert {0} == {state.lag for state in store.event_log.groups("order")}


def test_an_event_that_no_handler_wants_costs_no_chunk(
    bus: EventBus, many: Dispatcher, sent: Sent, asked: Asked, store: Store
) -> None:
    for n in range(50):
        bus.emit("order.other", id=str(n))
        wake(many)
    wake(many)
    assert ([], {}, []) == (asked.names(), behind(store), list(sent))


def test_what_is_wanted_comes_in_one_turn_however_much_is_before_it(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store
) -> None:
    for n in range(300):
        bus.emit("order.other", id=str(n))
    bus.emit("order.t0", id="a")
    for n in range(300, 600):
        bus.emit("order.other", id=str(n))
    bus.emit("order.t0", id="b")
    wake(many)
    assert [("h0", "a"), ("h0", "b")] == run_all(bus, sent)


def test_each_handler_runs_what_it_wants_once_whatever_comes_in_whatever_order(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store
) -> None:
    types = [f"order.t{n * n % 17}" for n in range(200)]
    ran = []
    for n, kind in enumerate(types):
        bus.emit(kind, id=f"e{n}")
        if n % 7 == 0:
            wake(many)
            ran += run_all(bus, sent) if n % 3 else []
    for _ in range(300):
        wake(many)
        ran += run_all(bus, sent)
    wanted = [(f"h{n * n % 17}", f"e{n}") for n in range(200) if n * n % 17 < MANY]
    assert sorted(wanted) == sorted(ran)
    assert {} == behind(store)
    assert all(state.is_shared for state in many._groups)


def test_a_handler_that_is_far_behind_leaves_and_the_others_continue(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain_reader, "MAX_LAG", 4)
    group = Group("order", "billing.h3")
    store.deliveries.handler_store(group).stats["mean_us"] = many._groups[group].mean_us = 5000
    for n in range(10):
        bus.emit("order.t3", id=f"a{n}")
    bus.emit("order.t4", id="b")
    for _ in range(5):
        wake(many)
    ran = [(chunk.handler.name, item.event.id) for chunk in sent for item in chunk.items]
    assert ("h4", "b") in ran
    assert not many._groups[group].is_shared
    for _ in range(40):
        run_all(bus, sent)
        wake(many)
    assert {} == behind(store)
    assert many._groups[group].is_shared


@pytest.mark.parametrize("options", [{"ordered": True}, {"concurrency": 2}])
def test_a_handler_whose_deliveries_come_one_by_one_takes_them_by_itself(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store, options: dict[str, Any]
) -> None:
    for number in range(MANY):
        bus.on(f"order.t{number}", name=f"h{number}", **options)(handle)
    made = dispatcher()
    ran = []
    for n in range(60):
        bus.emit(f"order.t{n % 15}", id=f"e{n}", subject="s")
        wake(made)
        ran += run_all(bus, sent)
    for _ in range(30):
        wake(made)
        ran += run_all(bus, sent)
    assert sorted((f"h{n % 15}", f"e{n}") for n in range(60) if n % 15 < MANY) == sorted(ran)
    assert {} == behind(store)
    assert all(state.is_shared for state in made._groups)


def test_a_due_delivery_is_found_at_the_wakeup(
    bus: EventBus, many: Dispatcher, sent: Sent, asked: Asked, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    wake(many)
    chunk = sent.pop()
    assert 1 == store.backend.chunks.requeue(bus.service.worker, chunk.group, chunk.id)
    wake(many)
    wake(many)
    assert [["a"]] == sent.ids
    assert {"h3"} == set(asked.names())


def test_a_chunk_whose_lease_expired_is_found(
    bus: EventBus, many: Dispatcher, sent: Sent, asked: Asked, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    wake(many)
    sent.clear()
    store.clock.advance(store.deliveries.lease_ms)
    wake(many)
    wake(many)
    assert [["a"]] == sent.ids
    assert {"h3"} == set(asked.names())


def test_a_group_that_is_gone_is_joined_again(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store
) -> None:
    store.event_log.leave("order", "billing.h3")
    wake(many)
    wake(many)
    bus.emit("order.t3", id="a")
    wake(many)
    wake(many)
    assert [["a"]] == sent.ids


def test_what_only_newer_code_wants_is_left_to_it(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store
) -> None:
    store.deliveries.note_patterns(Group("order", "billing.h3"), ["order.t3", "order.new"])
    bus.emit("order.new", id="a")
    for _ in range(3):
        wake(many)
    assert ["billing.h3"] == list(behind(store))
    assert [] == sent


def test_a_group_that_was_set_back_is_given_all_of_it_again(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    bus.emit("order.t4", id="b")
    wake(many)
    run_all(bus, sent)
    with store.event_log.lock:
        store.event_log.store["order"].groups["billing.h3"].last = (0, 0)
    bus.emit("order.other", id="c")
    ran = []
    for _ in range(10):
        wake(many)
        ran += run_all(bus, sent)
    assert {("h3", "a")} == set(ran)


def test_an_entry_that_is_no_event_is_dead_and_holds_up_no_group(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    store.event_log._append("order", b"no event", EntryKind.FOREIGN)
    bus.emit("order.t4", id="b")
    ran = []
    for _ in range(20):
        wake(many)
        ran += run_all(bus, sent)
    assert [("h3", "a"), ("h4", "b")] == sorted(ran)
    assert {} == behind(store)
    assert 1 == len(store.deliveries.dead("order"))


def test_a_group_that_another_worker_moved_on_misses_nothing(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store
) -> None:
    bus.emit("order.t3", id="a")
    group = Group("order", "billing.h3")
    [other] = store.backend.chunks.fetch("other", [ChunkRequest(group, "chunk", 1, running=True)])
    bus.emit("order.t3", id="b")
    for _ in range(3):
        wake(many)
    assert (1, [["b"]]) == (len(other.entries), sent.ids)


def test_the_chunk_of_an_advance_without_an_answer_is_requeued(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = store.backend.chunks.advance

    def lose(worker: str, moves: Sequence[Advance]) -> Any:
        advance(worker, moves)
        monkeypatch.setattr(store.backend.chunks, "advance", advance)
        raise redis.ConnectionError("reset")

    monkeypatch.setattr(store.backend.chunks, "advance", lose)
    bus.emit("order.t3", id="a")
    with pytest.raises(redis.ConnectionError):
        wake(many)
    ran = []
    for _ in range(5):
        many.run_once()
        ran += run_all(bus, sent)
    assert [("h3", "a")] == ran


@pytest.mark.parametrize(("handlers", "is_shared"), [(SHARED_FROM - 1, False), (SHARED_FROM, True)])
def test_a_domain_of_enough_groups_is_read_once_for_all(
    bus: EventBus, dispatcher: MakeDispatcher, handlers: int, is_shared: bool
) -> None:
    for number in range(handlers):
        bus.on(f"order.t{number}", name=f"h{number}")(handle)
    made = dispatcher()
    wake(made)
    assert is_shared is ("order" in made._reader)


def test_a_group_that_shares_the_reading_fetches_only_pending_deliveries(
    bus: EventBus, dispatcher: MakeDispatcher, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(MANY):
        bus.on(f"order.t{number}", name=f"h{number}", concurrency=3)(handle)
    made = dispatcher()
    bus.emit("order.other")
    wake(made)
    wake(made)
    assert all(state.is_shared for state in made._groups)
    max_new: list[int] = []
    fetch = store.deliveries.fetch

    def noted(worker: str, asked: Sequence[FetchRequest]) -> list[FetchResult]:
        max_new.extend(ask.max_new for ask in asked if made._groups[ask.group].is_shared)
        return fetch(worker, asked)

    monkeypatch.setattr(store.deliveries, "fetch", noted)
    bus.emit("order.t3")
    for _ in range(3):
        wake(made)
    assert {0} == set(max_new)


def test_where_few_groups_are_left_each_fetches_for_itself(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store
) -> None:
    for number in range(SHARED_FROM - 1, MANY):
        store.registry.unregister(f"billing.h{number}")
        store.event_log.leave("order", f"billing.h{number}")
    for _ in range(3):
        wake(many)
    assert "order" not in many._reader
    bus.emit("order.t0", id="a")
    wake(many)
    sent.clear()
    store.clock.advance(store.deliveries.lease_ms)
    wake(many)
    assert [["a"]] == sent.ids


def test_a_handler_that_wants_most_of_a_backlog_fetches_it_for_itself(
    bus: EventBus, many: Dispatcher, sent: Sent, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain_reader, "MAX_PAGES", 1)
    group = Group("order", "billing.h0")
    bus.emit_many([("order.t0", {})] * 1200)
    wake(many)
    assert [FEW] == [chunk.more for chunk in sent[:1]]
    assert not many._groups[group].is_shared
    ran = []
    for _ in range(40):
        ran += run_all(bus, sent)
        wake(many)
    assert 1200 == store.deliveries.stats(group)["processed"]
    assert {} == behind(store)
