"""How many hints wait, by what was sent and what is still queued."""

from __future__ import annotations

from celeriac.dispatcher.flow import Flow
from celeriac.ledger import Lane

LANE = Lane("order", "billing.charge")


def flow(*sizes: int) -> Flow:
    flow = Flow()
    for size in sizes:
        flow.sent(LANE, size)
    return flow


def test_what_was_sent_waits_until_the_ledger_says_otherwise() -> None:
    assert flow(3, 1, 2).hints(LANE.handler) == 3
    assert Flow().hints(LANE.handler) == 0


def test_the_oldest_hints_are_the_ones_that_were_taken() -> None:
    sent = flow(3, 1, 2)
    sent.still_queued(LANE, 3)
    assert sent.hints(LANE.handler) == 2
    sent.still_queued(LANE, 1)
    assert sent.hints(LANE.handler) == 1
    sent.still_queued(LANE, 0)
    assert sent.hints(LANE.handler) == 0


def test_a_hint_taken_in_part_still_waits() -> None:
    sent = flow(10)
    sent.still_queued(LANE, 4)
    assert sent.hints(LANE.handler) == 1


def test_more_queued_than_was_sent_changes_nothing() -> None:
    """After a sweep a worker holds what it never sent itself."""
    sent = flow(2)
    sent.still_queued(LANE, 50)
    assert sent.hints(LANE.handler) == 1


def test_the_hints_of_a_handler_are_counted_over_its_domains() -> None:
    sent = flow(2)
    sent.sent(Lane("payment", LANE.handler), 1)
    assert sent.hints(LANE.handler) == 2


def test_the_lanes_with_hints_that_wait_are_known() -> None:
    known, here, there = Flow(), Lane("order", "a.b"), Lane("item", "a.b")
    known.sent(here, 1)
    known.sent(there, 1)
    known.sent(Lane("order", "other.one"), 1)
    known.still_queued(there, 0)
    assert [here] == known.lanes("a.b")
