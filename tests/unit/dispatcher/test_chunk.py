"""How many events travel in one task, as tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from celeriac import Debounce, Event
from celeriac.delivery import Outcome
from celeriac.dispatcher.chunk import Chunk, Item, chunk_size, first_calls, limit, split
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
    ("of a microsecond: max_chunk",        {},                          1,  10000,         2,  500),
    ("one process: all that is ready",     {},                         50,    100,         1,  100),
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


@pytest.mark.parametrize(
    ("keep", "expected"), [("all", [["1-0", "3-0"], ["2-0"]]), ("last", [["1-0", "2-0", "3-0"]])]
)
def test_the_events_that_a_debounced_handler_gets_in_one_list_are_a_chunk_of_their_own(
    keep: Any, expected: list[list[str]]
) -> None:
    function = store if keep == "all" else handle
    options = HandlerOptions(key="subject", debounce=Debounce(5, 60, keep=keep))
    made = make_handler(function, ["order.placed"], options, service="s")
    several = [
        msgspec.structs.replace(item, together=together)
        for item, together in zip(items(0, 0, 0), ("a", "b", "a"), strict=True)
    ]
    chunks = split(made, made.group("order"), several, 10, 1, SETTINGS)
    assert expected == [[item.entry for item in chunk.items] for chunk in chunks]


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


@pytest.mark.parametrize(
    ("more", "sizes"), [({}, [200, 200]), ({"more": False}, [200, 200]), ({"more": True}, [400])]
)
def test_with_more_to_come_a_chunk_is_not_spread_over_the_processes(
    more: dict[str, bool], sizes: list[int]
) -> None:
    some = handler()
    chunks = split(some, some.group("order"), items(*[0] * 400), 10, 2, SETTINGS, **more)
    assert sizes == [len(chunk.items) for chunk in chunks]


def test_what_flower_keeps_of_a_task_is_short_for_any_event() -> None:
    some = handler()
    event = EventHeader(id="e1", source="s", type="order.placed", subject="x" * 1024)
    one = Chunk(some, some.group("order"), (Item("1-0", 0, event),))
    assert "x" * 254 + "…" == one.describe()["subject"]
    event = msgspec.structs.replace(event, subject="x" * 255)
    assert "x" * 255 == Chunk(some, one.group, (Item("1-0", 0, event),)).describe()["subject"]
    types = [EventHeader(id="e", source="s", type=f"order.{'t' * 200}{n}") for n in range(50)]
    many = Chunk(some, some.group("order"), tuple(Item("1-0", 0, event) for event in types))
    assert len(many.describe()["event"]) == 255


@pytest.mark.parametrize(
    ("together", "count", "kept", "rest"),
    [
        (["", "", ""], 0, [], ["1-0", "2-0", "3-0"]),
        (["", "", ""], 2, ["1-0", "2-0"], ["3-0"]),
        (["", "", ""], 3, ["1-0", "2-0", "3-0"], []),
        # a list is one call, also if its items are not next to each other
        (["a", "b", "a"], 1, ["1-0", "3-0"], ["2-0"]),
        (["a", "a", "b"], 1, ["1-0", "2-0"], ["3-0"]),
        (["a", "", "b"], 2, ["1-0", "2-0"], ["3-0"]),
    ],
)
def test_the_items_of_the_first_calls(
    together: list[str], count: int, kept: list[str], rest: list[str]
) -> None:
    some = [
        msgspec.structs.replace(item, together=key)
        for item, key in zip(items(0, 0, 0), together, strict=True)
    ]
    parts = first_calls(some, count)
    assert [kept, rest] == [[item.entry for item in part] for part in parts]


def test_the_completion_of_a_coalesced_item_names_the_entry_that_is_handled_in_its_place() -> None:
    [item] = items(2)
    completion = item.coalesced("5-0")
    assert ("1-0", item.event.key, 2) == (
        completion.entry, completion.event_key, completion.attempt
    )  # fmt: skip
    assert (Outcome.COALESCED, "order.placed", "5-0") == (
        completion.outcome, completion.type, completion.into
    )  # fmt: skip
