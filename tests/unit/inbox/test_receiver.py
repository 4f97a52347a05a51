"""The new events of a call, without a database."""

from __future__ import annotations

from celeriac import Event
from celeriac.event import build_event, event_key
from celeriac.inbox.receiver import Key, keys_of, unseen


def event(id: str, type: str = "order.placed") -> Event:
    return build_event(type, None, source="t", id=id)


def key(id: str, domain: str = "order") -> Key:
    return event_key(id, "t"), domain


def test_the_keys_of_a_batch_are_sorted_and_each_is_there_once() -> None:
    """Two transactions that record the same events lock the rows in the same order."""
    batch = [event("b"), event("a"), event("b"), event("a", "stock.low")]
    assert keys_of(batch) == [key("a"), key("a", "stock"), key("b")]
    assert keys_of(event("x")) == [key("x")]


def test_a_single_event_is_left_if_it_is_new() -> None:
    one = event("a")
    assert unseen(one, [key("a")]) is one
    assert unseen(one, []) is None


def test_the_same_id_in_another_domain_is_another_event() -> None:
    assert unseen(event("a", "stock.low"), [key("a")]) is None


def test_the_same_id_of_another_source_is_another_event() -> None:
    other = build_event("order.placed", None, source="other", id="a")
    assert unseen(other, [key("a")]) is None
    both = [event("a"), other]
    assert unseen(both, keys_of(both)) == both


def test_of_a_batch_the_new_ones_are_left_in_their_order_and_each_once() -> None:
    batch = [event("c"), event("b"), event("a"), event("c")]
    left = unseen(batch, [key("a"), key("c")])
    assert isinstance(left, list)
    assert [one.id for one in left] == ["c", "a"]
    assert unseen(batch, []) is None
