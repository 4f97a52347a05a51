"""Chunks: what a dispatcher fetches, for which handlers, and how many at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import redis

from celeriac import Breaker, Event, EventBus
from celeriac.delivery import DeliveryState, Group
from celeriac.delivery.chunk_store import ChunkRequest
from celeriac.dispatcher import Chunk, Dispatcher
from celeriac.dispatcher.group_state import OPEN_CHUNKS
from celeriac.event import encode
from celeriac.event_log import EntryKind
from celeriac.executor import Executor
from celeriac.testing.store import Store
from tests.unit.delivery_task import run_task
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent

GROUP = Group("order", "billing.charge")


def charge(event: Event[Any]) -> None: ...


@pytest.fixture
def bus(bus: EventBus, store: Store) -> EventBus:
    bus.on("order.placed")(charge)
    return bus


def settle(turning: Dispatcher) -> float:
    """Turns until there is nothing more to do at once."""
    while (pause := turning.run_once()) == 0.0:
        pass
    return pause


def run(bus: EventBus, chunk: Chunk, **more: Any) -> None:
    Executor(bus.service).chunks.execute(
        chunk.handler, chunk.group.domain, chunk.id, chunk.entries, more=chunk.more, **more
    )


def test_what_emit_made_is_fetched_in_a_chunk_and_leaves_no_delivery_behind(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher()
    event = bus.emit("order.placed")
    settle(turning)
    [chunk] = sent
    assert ([[event]], None) == (sent.ids, chunk.entries)
    [opened] = store.backend.chunks.open_chunks(GROUP)
    assert (chunk.id, f"queued:{bus.service.worker}") == (opened.id, opened.owner)
    run(bus, chunk)
    assert [] == store.backend.chunks.open_chunks(GROUP)
    [state] = store.event_log.groups("order")
    assert (0, 0) == (state.pending, state.lag)


@pytest.mark.parametrize(
    "options",
    [
        {"ordered": True},
        {"concurrency": 3},
        {"rate_limit": "10/s"},
        {"breaker": Breaker()},
        {"time_limit": 5.0},
        {"soft_time_limit": 5.0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_decided_delivery_by_delivery_comes_in_no_chunk(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, options: dict[str, Any]
) -> None:
    bus.on("stock.moved", name="limited", **options)(charge)
    turning = dispatcher()
    bus.emit("stock.moved", subject="a")
    settle(turning)
    assert [""] == [chunk.id for chunk in sent]


def append_foreign(bus: EventBus, store: Store, id: str) -> None:
    """As any producer may, by XADD."""
    store.event_log.append("order", encode(bus.event("order.placed", id=id)), EntryKind.FOREIGN)


def test_what_may_be_a_duplicate_is_taken_by_itself_in_the_same_turn(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher()
    append_foreign(bus, store, "foreign")
    turning.run_once()
    assert ([["foreign"]], [""]) == (sent.ids, [chunk.id for chunk in sent])


@pytest.mark.parametrize("given", [True, False], ids=["given", "made"])
def test_a_copy_of_an_event_that_ran_in_a_chunk_is_ignored(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store, given: bool
) -> None:
    turning = dispatcher()
    event = bus.emit("order.placed", id="a" if given else None)
    settle(turning)
    run(bus, sent.pop())
    append_foreign(bus, store, event)
    settle(turning)
    [copy] = sent
    assert (0, "") == (run_task(bus.service, copy).processed, copy.id)
    assert 1 == store.deliveries.stats(GROUP)["processed"]


def test_a_copy_in_the_same_chunk_is_claimed_by_itself_and_ignored(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    store.deliveries.handler_store(GROUP).stats["mean_us"] = 100
    turning = dispatcher()
    settle(turning)
    event = bus.emit("order.placed")
    append_foreign(bus, store, event)
    append_foreign(bus, store, "other")
    settle(turning)
    while sent:
        run_task(bus.service, sent.pop(0))
        settle(turning)
    assert 2 == store.deliveries.stats(GROUP)["processed"]
    assert [] == store.deliveries.pending_between(GROUP, "-", "+")


@pytest.mark.parametrize("together", [True, False])
def test_a_first_try_that_arrives_after_its_own_retry_runs_once(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store, together: bool
) -> None:
    store.deliveries.handler_store(GROUP).stats["mean_us"] = 100
    turning = dispatcher()
    settle(turning)
    body = encode(bus.event("order.placed", id="a"))
    store.event_log.append("order", body, EntryKind.MADE, since_ms=store.clock.now_ms())
    ran: list[str] = []
    for _ in range(2):
        if not together or not ran:
            store.event_log._append("order", body, EntryKind.MADE)
        other = bus.emit("order.placed")
        settle(turning)
        while sent:
            ran += [item.event.id for item in sent[0].items]
            run_task(bus.service, sent.pop(0))
            settle(turning)
        assert other in ran
    assert 1 == ran.count("a")
    assert 3 == store.deliveries.stats(GROUP)["processed"]


def test_a_chunk_in_which_nothing_is_repeated_runs_as_any_other(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher()
    event = bus.emit("order.placed")
    now_ms = store.clock.now_ms()
    store.event_log.store["order"].ids.note_ambiguous(now_ms, now_ms)
    settle(turning)
    [chunk] = sent
    assert [[event]] == sent.ids
    assert chunk.id


def test_a_worker_holds_so_many_chunks_of_a_group_and_fetches_more_when_one_is_done(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    now = [0.0]
    turning = dispatcher(processes=2, clock=lambda: now[0])
    for _ in range(10):
        bus.emit("order.placed")
    pause = settle(turning)
    assert OPEN_CHUNKS * 2 == len(sent)
    assert 0 < pause < 0.1, "the backlog is looked at again soon"
    done = sent.pop(0)
    Executor(bus.service).chunks.execute(done.handler, "order", done.id)
    now[0] += pause
    settle(turning)
    assert OPEN_CHUNKS * 2 == len(sent)


def test_what_the_handler_does_not_want_costs_no_task(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher()
    bus.emit_many([("order.paid", {})] * 50)
    settle(turning)
    assert ([], []) == (list(sent), store.backend.chunks.open_chunks(GROUP))
    [state] = store.event_log.groups("order")
    assert (0, 0) == (state.pending, state.lag)


def test_a_free_process_is_given_the_entries_of_the_chunk(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher(is_free=lambda queue: queue == "billing")
    event = bus.emit("order.placed")
    settle(turning)
    [chunk] = sent
    assert chunk.stays
    assert [event] == [item.event.id for item in chunk.items]
    assert chunk.entries is not None
    assert [chunk.items[0].entry] == [entry.id for entry in chunk.entries]
    run(bus, chunk)
    assert 1 == store.deliveries.stats(GROUP)["processed"]


def test_the_chunks_of_a_fetch_without_an_answer_are_requeued(
    bus: EventBus,
    dispatcher: MakeDispatcher,
    sent: Sent,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turning = dispatcher()
    event = bus.emit("order.placed")
    fetch = store.backend.chunks.fetch

    def lose(worker: str, requests: Sequence[ChunkRequest]) -> Any:
        fetch(worker, requests)
        monkeypatch.setattr(store.backend.chunks, "fetch", fetch)
        raise redis.ConnectionError("reset")

    monkeypatch.setattr(store.backend.chunks, "fetch", lose)
    with pytest.raises(redis.ConnectionError):
        settle(turning)
    settle(turning)
    assert [[event]] == sent.ids


def test_a_chunk_whose_lease_expired_becomes_deliveries_of_their_own(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher()
    event = bus.emit("order.placed")
    settle(turning)
    lost = sent.pop()
    store.clock.advance(store.deliveries.lease_ms)
    settle(turning)
    assert ([[event]], [""]) == (sent.ids, [chunk.id for chunk in sent])
    run(bus, lost)
    assert "processed" not in store.deliveries.stats(GROUP)


def test_a_stop_requeues_what_is_queued(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher()
    bus.emit("order.placed")
    settle(turning)
    turning.requeue()
    [chunk] = sent
    assert [] == store.backend.chunks.open_chunks(GROUP)
    assert DeliveryState.SCHEDULED == store.deliveries.pending_between(GROUP, "-", "+")[0].owner
    assert None is store.backend.chunks.begin("other", GROUP, chunk.id)


def test_what_a_process_begins_while_the_rest_is_requeued_stays_with_it(
    bus: EventBus,
    dispatcher: MakeDispatcher,
    sent: Sent,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turning, chunks = dispatcher(), store.backend.chunks
    bus.emit("order.placed")
    settle(turning)
    [chunk] = sent
    look = chunks.open_chunks

    def begin_after(group: Group) -> Any:
        found = look(group)
        assert chunks.begin(bus.service.worker, group, chunk.id) is not None
        return found

    monkeypatch.setattr(chunks, "open_chunks", begin_after)
    turning.requeue()
    assert [f"running:{bus.service.worker}"] == [one.owner for one in look(GROUP)]
    assert [] == store.deliveries.pending_between(GROUP, "-", "+")


def test_a_quiet_group_is_not_fetched(
    bus: EventBus, dispatcher: MakeDispatcher, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    turning = dispatcher(clock=lambda: 0.0)
    settle(turning)
    calls: list[str] = []
    monkeypatch.setattr(store.backend.chunks, "fetch", lambda *_: calls.append("fetch"))
    turning.run_once(())
    assert [] == calls
    assert math.isinf(turning._groups[GROUP].pending_at)
