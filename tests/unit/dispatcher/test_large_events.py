"""Events of 10 to 100 kB: a chunk of them is bounded by its bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.delivery import Group
from celeriac.delivery.chunk_store import ChunkRequest, Fetched
from celeriac.delivery.fetch_size import MAX_FETCH_BYTES, MAX_SIZE_UNKNOWN
from celeriac.dispatcher.fetching import MAX_FIRST
from celeriac.testing.store import Store
from tests.unit.delivery_task import run_task
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent
from tests.unit.dispatcher.test_fetching import settle

GROUP = Group("order", "billing.charge")


@pytest.mark.parametrize("size", [10_000, 30_000, 100_000])
@pytest.mark.parametrize("free", [True, False], ids=["carried by the task", "read by the process"])
def test_after_the_first_chunk_none_holds_more_than_its_bytes(
    bus: EventBus,
    dispatcher: MakeDispatcher,
    sent: Sent,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    free: bool,
) -> None:
    """For each that fetches: the dispatcher, and the process that drains a backlog."""
    ran: list[str] = []

    @bus.on("order.placed")
    def charge(event: Event[Any]) -> None:
        ran.append(event.id)

    turning = dispatcher(is_free=lambda queue: free)
    store.deliveries.handler_store(GROUP).stats["mean_us"] = (
        1  # so fast that only the bytes bound a chunk
    )
    bus.emit_many([("order.placed", "x" * size)] * 500)
    held: list[tuple[int, int]] = []
    chunks: Any = store.backend.chunks
    fetch: Callable[[str, ChunkRequest], Fetched] = chunks._fetch

    def measured(worker: str, request: ChunkRequest) -> Fetched:
        fetched = fetch(worker, request)
        if fetched.entries:
            sizes = [len(entry.body or b"") for entry in fetched.entries]
            held.append((len(sizes), sum(sizes)))
        return fetched

    monkeypatch.setattr(chunks, "_fetch", measured)
    settle(turning)
    while sent:
        run_task(bus.service, sent.pop(0))
        settle(turning)
    assert 500 == len(ran) == len(set(ran))
    # Neither the dispatcher nor the process knows the size of events at its first fetch.
    assert held[0][0] <= MAX_SIZE_UNKNOWN
    large = [events for events, bytes in held if bytes > MAX_FETCH_BYTES]
    assert len(large) <= 2 and all(events <= MAX_SIZE_UNKNOWN for events in large), held
    # Chunks are not smaller than they may be either.
    assert max(bytes for _, bytes in held) > 0.8 * MAX_FETCH_BYTES


def test_one_chunk_alone_is_larger_where_events_become_large_all_at_once(
    bus: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    """Redis returns no size without the event: a chunk is bounded by what was fetched before it."""
    bus.on("order.placed", name="charge")(lambda event: None)
    turning = dispatcher()
    store.deliveries.handler_store(GROUP).stats["mean_us"] = 1
    counts: dict[int, list[int]] = {1: [], 100_000: []}
    for size, sizes in counts.items():
        bus.emit_many([("order.placed", "x" * size)] * 1050)
        settle(turning)
        while sent:
            sizes.append(len(sent[0].items))
            run_task(bus.service, sent.pop(0))
            settle(turning)
    # How many tasks the small events take depends on how fast each process fetches on.
    assert MAX_FIRST == max(counts[1])
    _, *large = counts[100_000]
    assert large and all(count * 100_000 <= MAX_FETCH_BYTES for count in large), counts
