"""Broadcast handlers are registered by the heartbeats of their workers."""

from __future__ import annotations

import msgspec

from celeriac import Event, EventBus
from celeriac.registry import BroadcastRecord, LiveBroadcast, WorkerRecord, live_broadcasts

EACH = BroadcastRecord(patterns=("cache.#",), scope="process")
ONCE = BroadcastRecord(patterns=("price.*",), scope="worker")


def worker(name: str, processes: int = 2, **broadcasts: BroadcastRecord) -> WorkerRecord:
    return WorkerRecord(
        name=name,
        service="shop",
        hostname="h",
        pid=1,
        pool="prefork",
        processes=processes,
        queues=("shop",),
        broadcasts={f"shop.{name}": record for name, record in broadcasts.items()},
        version="1",
    )


def test_instances_are_the_workers_or_their_pool_processes() -> None:
    workers = [worker("b", 3, clear=EACH, forget=ONCE), worker("a", 2, clear=EACH), worker("c")]
    assert live_broadcasts(workers) == [
        LiveBroadcast("shop.clear", "shop", "process", ("cache.#",), ("a", "b"), 5),
        LiveBroadcast("shop.forget", "shop", "worker", ("price.*",), ("b",), 1),
    ]


def test_a_pool_of_threads_is_one_process() -> None:
    threads = msgspec.structs.replace(worker("a", 8, clear=EACH), pool="thread")
    assert [each.instances for each in live_broadcasts([threads])] == [1]


def test_workers_of_two_versions_have_the_patterns_of_both() -> None:
    old = BroadcastRecord(patterns=("price.old", "price.*"), scope="worker")
    [found] = live_broadcasts([worker("a", forget=old), worker("b", forget=ONCE)])
    assert (found.patterns, found.instances) == (("price.old", "price.*"), 2)


def test_a_handler_without_a_worker_is_not_listed() -> None:
    assert live_broadcasts([worker("a")]) == []


def test_the_code_of_a_worker_is_what_it_registers(bus: EventBus) -> None:
    @bus.on("cache.cleared", broadcast="process")
    def clear(event: Event) -> None: ...

    @bus.on("price.changed", "price.removed", broadcast=True)
    def forget(event: Event) -> None: ...

    assert bus.service.broadcast_records() == {
        "billing.clear": BroadcastRecord(patterns=("cache.cleared",), scope="process"),
        "billing.forget": BroadcastRecord(
            patterns=("price.changed", "price.removed"), scope="worker"
        ),
    }
