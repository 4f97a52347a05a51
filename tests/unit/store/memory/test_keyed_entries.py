"""The slots of keys in memory: which entry may run, which waits, and for what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac.delivery import FlowControl
from celeriac.store.memory import keyed_entries
from celeriac.store.memory.keyed_entries import (
    KeyedEntries,
    key_in_force,
    position_behind,
    position_of,
)
from celeriac.store.memory.stream import PendingEntry

A1, A2, A3, A4 = (f"1-{n}" for n in range(1, 5))
B1, B2 = "2-1", "2-2"
KEYS = dict.fromkeys((A1, A2, A3, A4, "1-0", "9-0", "14-0"), "a") | {B1: "b", B2: "b"}


class Keys:
    """Entries of the keys `a` and `b` at a simulated time in ms."""

    def __init__(self, **flow_control: Any) -> None:
        self.flow_control = FlowControl(**flow_control)
        self.keyed = KeyedEntries()
        self.now = 1000

    def enter(self, *entries: str, **options: bool) -> list[bool]:
        """Record new entries; return which of them run."""
        found = []
        for entry in entries:
            self.keyed.note(entry, KEYS[entry], position_of(entry), has_slot=False)
            found.append(self.keyed.enter(entry, self.flow_control, self.now, **options))
        return found

    def leave(self, entry: str) -> bool:
        return self.keyed.leave(entry, self.flow_control, self.now)

    def give_up_slot(self, entry: str) -> bool:
        return self.keyed.give_up_slot(entry, self.flow_control, self.now)

    def serve(self) -> list[str]:
        """Return all entries that may run now, in their order."""
        served = []
        while entry := self.keyed.serve(self.flow_control, self.now):
            served.append(entry)
        return served

    def debounce(self, entry: str) -> tuple[str, str] | None:
        self.keyed.note(entry, KEYS[entry], position_of(entry), has_slot=False)
        return self.keyed.debounce(entry, self.flow_control)

    def end_quiet(self, read_until_ms: int) -> list[str]:
        self.keyed.end_quiet(self.flow_control, self.now, read_until_ms)
        return self.serve()


def test_entries_of_a_key_wait_for_a_slot_in_their_order() -> None:
    keys = Keys(concurrency=2)
    assert keys.enter(A1, A2, A4, A3, B1) == [True, True, False, False, True]
    assert keys.keyed.running == {"a": 2, "b": 1}
    assert keys.serve() == []
    assert keys.leave(A2) is True
    assert keys.serve() == [A3]
    assert keys.leave(B1) is False, "nothing waits for it"
    assert keys.leave(A1) is True
    assert keys.serve() == [A4]
    assert (keys.leave(A3), keys.leave(A4), keys.leave(A4)) == (False, False, False)
    assert (keys.keyed.running, keys.keyed.entries) == ({}, {})


def test_a_new_entry_waits_behind_those_that_are_blocked() -> None:
    keys = Keys(concurrency=2)
    keys.enter(A1, A2, A3)
    keys.leave(A1)
    assert keys.enter(A4, B1) == [False, True]
    assert keys.serve() == [A3]


def test_an_entry_without_a_slot_of_the_worker_is_blocked_and_ready() -> None:
    keys = Keys(concurrency=2)
    assert keys.enter(A1, B1, has_room=False) == [False, False]
    assert keys.serve() == [A1, B1]


def test_keys_are_served_in_the_order_of_the_log() -> None:
    keys = Keys(concurrency=9)
    keys.enter(B2, B1, A2, A1, has_room=False)
    assert keys.serve() == [A1, A2, B1, B2]


@pytest.mark.parametrize(
    ("first", "second"), [("1-1", "1-2"), ("1-4094", "1-4095"), ("1-9", "2-0"), ("1-9999", "2-0")]
)
def test_the_order_of_two_keys_is_that_of_their_entries(first: str, second: str) -> None:
    keyed, flow_control = KeyedEntries(), FlowControl(concurrency=1)
    for entry, key in ((second, "a"), (first, "b")):
        keyed.note(entry, key, position_of(entry), has_slot=False)
        keyed.block(entry, flow_control, 0)
    assert keyed.serve(flow_control, 0) == first


def test_very_many_entries_of_one_ms_are_in_the_order_of_their_keys() -> None:
    """As the scripts do it: a position is one number there."""
    keyed, flow_control = KeyedEntries(), FlowControl(concurrency=1)
    for entry, key in (("1-4095", "b"), ("1-5000", "a")):
        keyed.note(entry, key, position_of(entry), has_slot=False)
        keyed.block(entry, flow_control, 0)
    assert keyed.serve(flow_control, 0) == "1-5000"


def test_a_replayed_entry_comes_after_the_log() -> None:
    positions = [position_behind((5, 0), "1-0"), position_of("5-0"), position_behind((5, 0), "4-0")]
    assert sorted(positions) == [positions[1], positions[0], positions[2]]


def test_a_lower_limit_holds_when_the_next_may_run() -> None:
    keys = Keys(concurrency=3)
    keys.enter(A1)
    keys.enter(A2, A3, has_room=False)
    keys.flow_control = FlowControl(concurrency=1)
    assert keys.serve() == []
    keys.leave(A1)
    assert keys.serve() == [A2]


def test_giving_up_a_slot_leaves_the_entry() -> None:
    keys = Keys(concurrency=1)
    keys.enter(A1, A2, A3)
    assert keys.give_up_slot(A1) is True
    assert A1 in keys.keyed.entries
    assert keys.serve() == [A2]
    assert keys.give_up_slot(A3) is False, "it was blocked, and nothing else waits"
    assert keys.leave(A2) is False
    assert keys.serve() == []


def test_an_entry_without_a_key_has_no_slot_to_give_up() -> None:
    keys = Keys(concurrency=1)
    keys.keyed.note(A1, None, position_of(A1), has_slot=True)
    assert (keys.give_up_slot(A1), keys.give_up_slot(A2), keys.keyed.running) == (False, False, {})
    assert keys.leave(A1) is False


def test_earlier_entries_of_the_key_are_named() -> None:
    keys = Keys(concurrency=1)
    keys.enter(A2, A1, A4, A3, B1)
    keys.keyed.note("9-9", None, position_of("9-9"), has_slot=False)
    earlier = {entry: keys.keyed.earlier(entry) for entry in (A1, A2, A3, A4, B1, "9-9", "8-8")}
    assert earlier == {
        A1: [A2], A2: [], A3: [A2, A1], A4: [A2, A1, A3], B1: [], "9-9": [], "8-8": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ordered", "owner", "has_slot", "is_blocked"),
    [
        (False, "queued:w", True, False),
        (False, "running:w", True, False),
        (False, "scheduled", False, False),
        (True, "scheduled", True, False),
        (False, "blocked", False, True),
        (True, "blocked", False, True),
    ],
)
def test_pending_entries_are_recorded_with_their_slots(
    ordered: bool, owner: str, has_slot: bool, is_blocked: bool
) -> None:
    keys = Keys(ordered=ordered, concurrency=1)
    keys.enter(B1)
    pending = {A1: PendingEntry(owner, 0), "8-0": PendingEntry("blocked", 0)}
    for _ in range(2):
        keys.keyed.sync(pending.items(), KEYS.get, keys.flow_control, keys.now)
    keyed = keys.keyed.entries
    assert set(keyed) == {A1, "8-0"}, "others are dropped"
    assert (keyed[A1].has_slot, keyed[A1].is_blocked) == (has_slot, is_blocked)
    assert (keyed["8-0"].key, keyed["8-0"].is_blocked) == (None, False)
    assert keys.keyed.running == ({"a": 1} if has_slot else {})
    assert keys.serve() == ([A1] if is_blocked else [])


# -- rates


def test_a_rate_allows_what_one_second_allows_and_then_one_by_one() -> None:
    keys = Keys(per_second=2.0)
    assert keys.enter(A1, A2, A3, B1) == [True, True, False, True]
    assert keys.keyed.next_ms() == 1500
    keys.now = 1499
    assert (keys.serve(), keys.leave(A1)) == ([], True), "another one waits for the rate"
    keys.now = 1500
    assert keys.serve() == [A3]
    assert keys.keyed.next_ms() is None
    assert keys.enter(A4) == [False]
    assert keys.keyed.next_ms() == 2000
    keys.now = 9000
    assert keys.serve() == [A4]


def test_a_rate_below_one_a_second_allows_one() -> None:
    keys = Keys(per_second=0.5)
    assert keys.enter(A1, A2) == [True, False]
    assert keys.keyed.next_ms() == 3000


def test_after_the_clock_stepped_back_a_key_waits_for_a_full_bucket_at_most() -> None:
    keys = Keys(per_second=2.0)
    keys.now = 1_000_000
    keys.enter(A1, A2, A3)
    keys.now = 1000
    assert keys.serve() == []
    keys.keyed.correct_times(keys.flow_control, keys.now)
    assert (keys.serve(), keys.keyed.next_ms()) == ([], 1500)
    keys.now = 1500
    assert keys.serve() == [A3]
    KeyedEntries().correct_times(FlowControl(concurrency=1), 0)


def test_a_rate_and_a_limit_hold_together() -> None:
    keys = Keys(per_second=2.0, concurrency=1)
    keys.enter(A1, A2, A3)
    assert keys.keyed.next_ms() is None, "it waits for the slot"
    assert keys.leave(A1)
    assert keys.serve() == [A2]
    keys.leave(A2)
    assert (keys.serve(), keys.keyed.next_ms()) == ([], 1500)


# -- turns


def fair(*entries: tuple[str, str], **flow_control: Any) -> str:
    """Block entries of these keys, and return the keys in the order of their turns."""
    keyed, flow = KeyedEntries(), FlowControl(fair=True, **flow_control)
    for entry, key in entries:
        keyed.note(entry, key, position_of(entry), has_slot=False)
        keyed.enter(entry, flow, 0, has_room=False)
    turns = ""
    while served := keyed.serve(flow, 0):
        turns += keyed.entries[served].key or ""
    return turns


WAITING = [(f"1-{n}", "a") for n in range(4)] + [(f"2-{n}", "b") for n in range(4)]


@pytest.mark.parametrize(
    ("weights", "turns"),
    [((), "abababab"), ((("a", 2.0),), "abaabab" + "b"), ((("b", 3.0),), "abbbabaa")],
)
def test_keys_take_turns_by_their_weights(weights: Any, turns: str) -> None:
    assert fair(*WAITING, weights=weights) == turns


def test_a_key_that_comes_later_does_not_catch_up() -> None:
    keys = Keys(fair=True)
    keys.enter(A1, A2, A3, A4, has_room=False)
    assert [keys.keyed.serve(keys.flow_control, 0) for _ in range(2)] == [A1, A2]
    keys.enter(B1, B2, has_room=False)
    assert keys.serve() == [B1, A3, B2, A4]


def test_a_new_entry_waits_its_turn_while_another_key_is_ready() -> None:
    keys = Keys(fair=True, concurrency=1)
    keys.enter(A1, has_room=False)
    assert keys.enter(B1) == [False]
    assert keys.serve() == [A1, B1]
    assert Keys(concurrency=1).enter(A1, B1) == [True, True]


# -- quiet keys


@pytest.mark.parametrize(
    ("keep", "pairs", "served"),
    [
        ("last", [None, (A1, A2), (A2, A3)], [A3]),
        ("first", [None, (A2, A1), (A3, A1)], [A1]),
        ("all", [None, None, None], [A1, A2, A3]),
    ],
)
def test_one_entry_is_handled_in_place_of_others(
    keep: Any, pairs: list[tuple[str, str] | None], served: list[str]
) -> None:
    keys = Keys(quiet_ms=10, max_quiet_ms=100, keep=keep)
    assert [keys.debounce(entry) for entry in (A1, A2, A3)] == pairs
    assert keys.keyed.next_ms() == 11
    assert keys.end_quiet(10) == []
    assert keys.end_quiet(11) == served
    assert keys.keyed.next_ms() is None
    assert keys.debounce(A4) is None, "it waits again"


def test_a_key_that_is_never_quiet_is_delivered_in_time() -> None:
    keys = Keys(quiet_ms=10, max_quiet_ms=15)
    for entry in ("1-0", "9-0", "14-0"):
        keys.debounce(entry)
    assert keys.keyed.next_ms() == 16
    assert keys.end_quiet(16) == ["14-0"]


@pytest.mark.parametrize(("now", "served"), [(0, []), (-4, []), (-5, [A1])])
def test_after_the_clock_stepped_back_no_key_waits_longer_than_it_may(
    now: int, served: list[str]
) -> None:
    keys = Keys(quiet_ms=10, max_quiet_ms=15)
    keys.debounce(A1)
    keys.now = now
    assert keys.end_quiet(0) == served


def test_an_entry_that_left_does_not_wait_to_be_quiet() -> None:
    keys = Keys(quiet_ms=10, max_quiet_ms=15, keep="all")
    keys.debounce(A1)
    keys.debounce(A2)
    keys.debounce(B1)
    assert keys.leave(A1) is False
    assert keys.end_quiet(99) == [A2, B1]


def test_blocked_entries_are_delivered_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed_entries, "MAX_TOGETHER", 3)
    keys = Keys(quiet_ms=10, max_quiet_ms=15, keep="all", concurrency=1)
    for entry in (A1, A2, A3, A4):
        keys.debounce(entry)
    keys.keyed.end_quiet(keys.flow_control, keys.now, 99)
    assert keys.keyed.serve(keys.flow_control, keys.now) == A1
    riders = keys.keyed.together_with(A1, keys.flow_control, keys.now, lambda entry: entry != A2)
    assert riders == [A3, A4]
    assert [keys.keyed.entries[entry].rides for entry in (A1, A2, A3)] == [False, False, True]
    assert not keys.keyed.entries[A3].is_blocked
    keys.give_up_slot(A3)
    assert not keys.keyed.entries[A3].rides
    assert keys.leave(A1) is True
    assert keys.serve() == [A2]
    keys.leave(A2)
    assert keys.serve() == []


def test_without_others_the_key_waits_for_nothing() -> None:
    keys = Keys(quiet_ms=10, max_quiet_ms=15, keep="all", concurrency=2)
    keys.debounce(A1)
    keys.debounce(A2)
    keys.keyed.end_quiet(keys.flow_control, keys.now, 99)
    assert keys.keyed.serve(keys.flow_control, keys.now) == A1
    assert keys.keyed.together_with(A1, keys.flow_control, keys.now, lambda entry: True) == [A2]
    assert keys.serve() == []


# -- the key of an event


@pytest.mark.parametrize(
    ("event", "patterns", "key"),
    [
        ({"type": "order.placed", "subject": "s"}, (), "s"),
        ({"type": "order.placed", "subject": "s"}, ("order.*",), "s"),
        ({"type": "order.placed"}, ("order.*",), ""),
        ({"type": "order.paid", "subject": "s"}, ("order.placed",), None),
        ({"subject": "s"}, ("order.placed",), None),
        ({"type": 1, "subject": "s"}, ("order.placed",), None),
        ({"type": "order.placed", "subject": "s", "handlers": "b.other"}, (), None),
        ({"type": "order.placed", "subject": "s", "handlers": "b.h b.other"}, (), "s"),
        ({"type": "order.paid", "subject": "s", "handlers": 5}, ("order.placed",), None),
        ({"type": "order.placed", "subject": "s", "handlers": 5}, ("order.placed",), "s"),
    ],
)
def test_an_event_that_no_code_wants_has_no_key(
    event: dict[str, Any], patterns: tuple[str, ...], key: str | None
) -> None:
    body = json.dumps(event).encode()
    assert key_in_force(body, FlowControl(concurrency=1), "b.h", patterns) == key


@pytest.mark.parametrize(("quiet_ms", "key"), [(0, ""), (10, None)])
@pytest.mark.parametrize("body", [b"no JSON", b"[]", b"\xff", b"[" * 10_000])
def test_a_body_that_is_no_event_shares_the_empty_key(
    body: bytes, quiet_ms: int, key: str | None
) -> None:
    """Unless keys are debounced: it represents no other event."""
    assert key_in_force(body, FlowControl(quiet_ms=quiet_ms), "b.h", ()) == key
