"""The new events of a call, without a database."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celeriac import Event
from celeriac.event import build_event, event_key
from celeriac.inbox.receiver import IdempotentReceiver, Key, keys_of, slices, unseen


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


class Outgoing:
    """Collects what is emitted, as (answer, session, database of Django)."""

    def __init__(self) -> None:
        self.emitted: list[tuple[Any, Any, str | None]] = []

    def emit(self, answer: Any, session: Any = None, using: str | None = None) -> None:
        self.emitted.append((answer, session, using))

    async def aemit(self, answer: Any, session: Any) -> None:
        self.emitted.append((answer, session, None))

    def send_replies(self, *, is_committed: bool) -> None:
        raise AssertionError("sent after the commit, by the caller")


def run(answer: Any, outgoing: Outgoing | None, how: str) -> None:
    def function(event: Event) -> Any:
        return answer

    async def coroutine(event: Event) -> Any:
        return answer

    inbox: Any = None
    called = coroutine if how == "coroutine" else function
    receiver = IdempotentReceiver("b.charge", called, False, inbox, lambda: 0, outgoing)
    if how == "django":
        receiver.run(event("a"), "connection", using="other")
    elif how == "blocking":
        receiver.run(event("a"), "session")
    else:
        asyncio.run(receiver.arun(event("a"), "session"))


@pytest.mark.parametrize(
    ("how", "emitted"),
    [
        ("blocking", ("answer", "session", None)),
        ("django", ("answer", None, "other")),
        ("coroutine", ("answer", "session", None)),
        ("plain function in a coroutine", ("answer", "session", None)),
    ],
)
def test_an_answer_is_emitted_in_the_transaction_and_its_absence_is_not(
    how: str, emitted: tuple[Any, Any, str | None]
) -> None:
    outgoing = Outgoing()
    run("answer", outgoing, how)
    run(None, outgoing, how)
    assert [emitted] == outgoing.emitted
    run("answer", None, how)


@pytest.mark.parametrize(
    ("size", "expected"), [(1, ["a", "b", "c"]), (2, ["ab", "c"]), (3, ["abc"]), (4, ["abc"])]
)
def test_slices_have_all_keys_in_order(size: int, expected: list[str]) -> None:
    keys = [(id, "order") for id in "abc"]
    assert expected == ["".join(id for id, _ in each) for each in slices(keys, size)]
