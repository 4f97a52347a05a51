"""Arguments and replies of the delivery store's scripts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from redis.exceptions import ResponseError

from celeriac.delivery import ClaimResult, Completion, FetchResult, FlowControl, Outcome
from celeriac.event import EmittedEvent, EmittedEvents
from celeriac.event_log import Entry, EntryKind
from celeriac.store.redis.delivery_script import (
    Noted,
    doubtful_entries,
    format_emitted_events,
    pack_flow,
    pack_lists,
    pack_plain,
    parse_claimed,
    parse_emitted_events,
    parse_entries,
    parse_fetched,
    parse_int,
    parse_noted,
    parse_patterns,
    patterns_text,
    plain_and_other,
)
from celeriac.tenant import tenant_marks

ONE, TWO = EmittedEvent("order.paid", "k1"), EmittedEvent("order.sent", "k 2")
DUPLICATE, RUN = ClaimResult.DUPLICATE, ClaimResult.RUN


@pytest.mark.parametrize(
    ("emitted", "stored"),
    [
        (EmittedEvents(), b""),
        (EmittedEvents((ONE,)), b"order.paid k1"),
        (EmittedEvents((ONE, TWO), 3), b"order.paid k1\norder.sent k 2\n+3"),
        (EmittedEvents((), 1), b"+1"),
    ],
)
def test_emitted_events_are_stored_as_lines(emitted: EmittedEvents, stored: bytes) -> None:
    assert stored == format_emitted_events(emitted).encode()
    assert emitted == parse_emitted_events(stored)


@pytest.mark.parametrize(
    ("stored", "emitted"),
    [
        (None, EmittedEvents()),
        (b"order.paid", EmittedEvents()),
        (b"order.paid k1\n+x", EmittedEvents((ONE,))),
        (b"+-1", EmittedEvents()),
        (b"+2\norder.paid k1", EmittedEvents((ONE,))),
        (b"\xff k", EmittedEvents((EmittedEvent("\ufffd", "k"),))),
    ],
)
def test_lines_that_are_no_emitted_events_are_left_out(
    stored: bytes | None, emitted: EmittedEvents
) -> None:
    assert emitted == parse_emitted_events(stored)


def unpacked(packed: bytes) -> list[Any]:
    values, decoder = [], msgspec.msgpack.Decoder()
    while packed:
        values.append(decoder.decode(packed[: 1 + packed[0] - 0x90]))
        packed = packed[1 + packed[0] - 0x90 :]
    return values


def test_lists_follow_each_other() -> None:
    assert [[1, 2], [], [3]] == unpacked(pack_lists([[1, 2], [], [3]]))
    assert b"" == pack_lists([])


def completion(n: int, **given: Any) -> Completion:
    given = {"outcome": Outcome.PROCESSED, "type": "order.placed", "took_us": n, **given}
    return Completion(f"{n}-1", f"k{n}", n, **given)


def test_processed_deliveries_are_four_lists() -> None:
    packed = pack_plain([completion(1), completion(2)])
    assert pack_lists((["1-1", "2-1"], ["k1", "k2"], [1, 2], [1, 2])) == packed


@pytest.mark.parametrize(
    ("given", "is_plain"),
    [
        ({}, True),
        ({"outcome": Outcome.SKIPPED}, False),
        ({"type": "order.paid"}, False),
        ({"emitted_events": EmittedEvents((ONE,))}, False),
    ],
)
def test_only_processed_deliveries_of_one_type_are_plain(
    given: dict[str, Any], is_plain: bool
) -> None:
    first, second = completion(1), completion(2, **given)
    expected = ([first, second], []) if is_plain else ([first], [second])
    assert expected == plain_and_other([first, second])
    assert ([], []) == plain_and_other([])


def test_the_first_plain_delivery_decides_the_type() -> None:
    other, first = completion(1, outcome=Outcome.DEAD), completion(2, type="order.paid")
    assert ([first], [other, completion(3)]) == plain_and_other([other, first, completion(3)])


def test_limits_are_packed_with_zero_for_none() -> None:
    assert b"" == pack_flow(None)
    packed = msgspec.msgpack.decode(pack_flow(FlowControl()))
    assert (0, 0.0, False, {}) == (
        packed["concurrency"], packed["per_second"], packed["ordered"], packed["weights"]
    )  # fmt: skip
    limits = FlowControl(
        key="data.a", ordered=True, concurrency=2, per_second=0.5, fair=True, weights=(("a", 3.0),),
        quiet_ms=5, max_quiet_ms=7, keep="all",
    )  # fmt: skip
    assert {
        "key": "data.a", "ordered": True, "concurrency": 2, "per_second": 0.5, "fair": True,
        "weights": {"a": 3.0}, "quiet_ms": 5, "max_quiet_ms": 7, "keep": "all",
    } == msgspec.msgpack.decode(pack_flow(limits))  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "noted"),
    [
        (b".", Noted(b".")),
        (b">5-1", Noted(b">", b"", b"5-1")),
        (b"+p1\0a\0b", Noted(b"+", b"a\0b", b"p1")),
        (b"", Noted(b"")),
    ],
)
def test_a_pending_entry_of_a_key_has_a_mark(stored: bytes, noted: Noted) -> None:
    assert noted == parse_noted(stored)


def test_claimed_deliveries_are_listed_or_all_run_for_the_first_time() -> None:
    answer = [b"1-1", b"duplicate", 2, 1, b"2-1", b"run", 1, 0]
    assert [("1-1", DUPLICATE, 2, 1), ("2-1", RUN, 1, 0)] == parse_claimed(answer, ["1-1", "2-1"])
    assert [("1-1", RUN, 1, 0)] == parse_claimed(b"all", ["1-1"])
    assert [] == parse_claimed([], ["1-1"])


def test_entries_are_found_by_their_id() -> None:
    entries = parse_entries([(b"1-1", [b"made", b"x"]), (b"2-1", [b"other", b"y"])])
    assert {"1-1": (b"x", EntryKind.MADE), "2-1": (None, EntryKind.FOREIGN)} == {
        id: (entry.body, entry.kind) for id, entry in entries.items()
    }
    with pytest.raises(ResponseError):
        parse_entries(ResponseError("ERR other"))


@pytest.mark.parametrize(
    ("time_ms", "kind", "result", "is_doubtful"),
    [
        (5, EntryKind.FOREIGN, RUN, True),
        (5, EntryKind.FOREIGN, DUPLICATE, False),
        (5, EntryKind.MADE, RUN, False),
        (10, EntryKind.MADE, RUN, True),
        (20, EntryKind.GIVEN, RUN, True),
        (21, EntryKind.MADE, RUN, False),
        (30, EntryKind.MADE, RUN, True),
        (20, EntryKind.MADE, DUPLICATE, False),
    ],
)
def test_entries_that_may_repeat_an_event_are_doubtful(
    time_ms: int, kind: EntryKind, result: ClaimResult, is_doubtful: bool
) -> None:
    entry = Entry(f"{time_ms}-1", b"{}", kind)
    claimed = [(entry.id, result, 1, 0), ("99-1", RUN, 1, 0)]
    keys = {entry.id: "k"}
    doubtful = doubtful_entries(claimed, {entry.id: entry}, keys, b"10:20 30:30")
    assert [(entry, "k")] * is_doubtful == doubtful
    is_foreign = kind is EntryKind.FOREIGN
    expected = [(entry, "k")] * (is_foreign and is_doubtful)
    assert expected == doubtful_entries(claimed, {entry.id: entry}, keys, ResponseError("x"))


def test_a_fetch_without_deliveries_has_no_next_time() -> None:
    fetched = parse_fetched([1, 0, 2, b"", 3, [], 4, 5, 0])
    assert fetched == FetchResult(
        queued=1, mean_us=2, in_flight=3, now_ms=4, in_flight_here=5, is_at_end=False
    )
    assert None is fetched.next_due_ms


@pytest.mark.parametrize(("stored", "number"), [(None, 0), (b"", 0), (b"x", 0), (b"-7", -7)])
def test_an_invalid_number_is_zero(stored: bytes | None, number: int) -> None:
    assert number == parse_int(stored)


MARKS = " ".join(tenant_marks(["acme"])).encode()


@pytest.mark.parametrize(
    ("stored", "patterns"),
    [
        (b"", ()),
        (b"a.b c.#", ("a.b", "c.#")),
        (b"a.b c..d", ()),
        (b"a.b \xff", ()),
        (MARKS + b" a.b", (*tenant_marks(["acme"]), "a.b")),
    ],
)
def test_an_invalid_pattern_invalidates_all(stored: bytes, patterns: tuple[str, ...]) -> None:
    assert patterns == parse_patterns(stored)


def test_equal_sets_of_patterns_have_equal_texts() -> None:
    assert "a.b c.#" == patterns_text(["c.#", "a.b", "c.#"])
