"""How many events travel in one task, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Event
from celeriac.dispatcher.chunk import Chunk, Item, chunk_size, limit, split
from celeriac.event import EventHeader, key_id
from celeriac.handler import Handler, HandlerOptions, make_handler
from celeriac.settings import Settings

SETTINGS = Settings.load({}, chunk_time=0.05, max_chunk=500, prefetch=2)


def handle(event: Event) -> None: ...
def store(events: list[Event]) -> None: ...


def handler(**options: Any) -> Handler:
    function = store if "batch" in options else handle
    return make_handler(function, ["order.placed"], HandlerOptions(**options), service="s")


def items(*attempts: int) -> list[Item]:
    return [
        Item(f"{n}-0", begun, EventHeader(id=f"e{n}", source="s", type="order.placed"))
        for n, begun in enumerate(attempts, 1)
    ]


SIZES: list[tuple[str, dict[str, Any], int, int, int, int]] = [
    # what is shown                        options                mean µs   ready  processes  size
    ("unmeasured: one",                    {},                          0,   1000,         2,    1),
    ("slow: one",                          {},                  1_000_000,   1000,         2,    1),
    ("10 ms: five make 50 ms",             {},                     10_000,   1000,         2,    5),
    ("fast: at most max_chunk",           {},                         10,  10000,         2,  500),
    ("fast: spread over the processes",    {},                         50,   1000,         4,  250),
    ("fast: not below what is worth it",   {},                         50,     10,         4,   40),
    ("slow: spread to one each",           {},                     10_000,      4,         4,    1),
    ("a time limit is of one event",       {"time_limit": 5},          10,  10000,         2,    1),
    ("a soft one too",                     {"soft_time_limit": 5},     10,  10000,         2,    1),
    ("unmeasured batch: a full one",       {"batch": 20},               0,   1000,         2,   20),
    ("slow batch: a full one",             {"batch": 20},       1_000_000,   1000,         2,   20),
    ("fast batch: more than one",          {"batch": 20},              10,  10000,         2,  500),
    ("batch with a limit: one of them",    {"batch": 20, "time_limit": 5}, 10, 10000,      2,   20),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "mean_us", "ready", "processes", "size"),
    [row[1:] for row in SIZES],
    ids=[row[0] for row in SIZES],
)
def test_the_size_of_a_chunk(
    options: dict[str, Any], mean_us: int, ready: int, processes: int, size: int
) -> None:
    assert size == chunk_size(handler(**options), mean_us, ready, processes, SETTINGS)


LIMITS: list[tuple[str, dict[str, Any], int, int, int]] = [
    # what is shown                    options               mean µs  processes  limit
    ("unmeasured: two a process",      {},                         0,         4,     8),
    ("slow: two a process",            {},                 1_000_000,         4,     8),
    ("10 ms: two chunks a process",    {},                    10_000,         2,    20),
    ("fast: two chunks a process",     {},                        10,         2,  2000),
    ("a rate: a second of it",         {"rate_limit": 5},         10,         2,     5),
    ("a slow rate: one",               {"rate_limit": "5/h"},     10,         2,     1),
    ("a batch: two batches a process", {"batch": 20},              0,         2,    80),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "mean_us", "processes", "most"),
    [row[1:] for row in LIMITS],
    ids=[row[0] for row in LIMITS],
)
def test_the_limit_of_what_a_worker_holds(
    options: dict[str, Any], mean_us: int, processes: int, most: int
) -> None:
    assert most == limit(handler(**options), mean_us, processes, SETTINGS)


def sizes(chunks: list[Chunk]) -> list[list[str]]:
    return [[item.event.id for item in chunk.items] for chunk in chunks]


def test_a_split_keeps_the_order_of_the_log() -> None:
    some = handler()
    chunks = split(some, some.group("order"), items(0, 0, 0, 0, 0), 20_000, 1, SETTINGS)
    assert [["e1", "e2"], ["e3", "e4"], ["e5"]] == sizes(chunks)


def test_what_was_begun_before_goes_alone_and_first() -> None:
    some = handler()
    chunks = split(some, some.group("order"), items(0, 1, 0, 2), 10, 1, SETTINGS)
    assert [["e2"], ["e4"], ["e1", "e3"]] == sizes(chunks)


def test_an_event_of_a_failed_batch_goes_alone() -> None:
    some = handler(batch=10)
    chunks = split(some, some.group("order"), items(1, 1, 0), 10, 1, SETTINGS)
    assert [["e1"], ["e2"], ["e3"]] == sizes(chunks)


def test_nothing_makes_no_chunk() -> None:
    some = handler()
    assert [] == split(some, some.group("order"), [], 10, 1, SETTINGS)


def test_people_see_type_and_id_and_never_data() -> None:
    some = handler()
    event = EventHeader(id="e1", source="s", type="order.placed", subject="order/1")
    one = Chunk(some, some.group("order"), (Item("1-0", 2, event),))
    assert {"event": "order.placed", "id": "e1", "subject": "order/1", "attempt": 3} == (
        one.describe()
    )
    many = Chunk(some, some.group("order"), tuple(items(0, 0, 0)))
    assert {"events": 3, "event": "order.placed", "id": "e1", "last": "e3"} == many.describe()
    assert [("1-0", "e1"), ("2-0", "e2"), ("3-0", "e3")] == [
        (entry, key_id(key)) for entry, key in many.pairs
    ]


@pytest.mark.parametrize(("more", "sizes"), [(False, [200, 200]), (True, [400])])
def test_with_more_to_come_a_chunk_is_not_spread_over_the_processes(
    more: bool, sizes: list[int]
) -> None:
    some = handler()
    chunks = split(some, some.group("order"), items(*[0] * 400), 10, 2, SETTINGS, more=more)
    assert sizes == [len(chunk.items) for chunk in chunks]


def test_what_flower_keeps_of_a_task_is_short_whatever_the_events_say() -> None:
    some = handler()
    event = EventHeader(id="e1", source="s", type="order.placed", subject="x" * 1024)
    one = Chunk(some, some.group("order"), (Item("1-0", 0, event),))
    assert "x" * 254 + "…" == one.describe()["subject"]
    types = [EventHeader(id="e", source="s", type=f"order.{'t' * 200}{n}") for n in range(50)]
    many = Chunk(some, some.group("order"), tuple(Item("1-0", 0, event) for event in types))
    assert len(many.describe()["event"]) == 255
