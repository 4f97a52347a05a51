"""How many delivery tasks wait, by what was sent and what is still queued."""

from __future__ import annotations

from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.task_sender import note_queued, note_sent
from tests.unit.dispatcher.groups import make_group


def sent(*sizes: int) -> GroupState:
    state = make_group("order")
    for size in sizes:
        note_sent(state, size)
    return state


def test_a_task_that_was_sent_waits_until_the_store_says_otherwise() -> None:
    assert sent(3, 1, 2).of.waiting_tasks == 3
    assert sent().of.waiting_tasks == 0


def test_the_oldest_tasks_are_the_ones_that_were_taken() -> None:
    state = sent(3, 1, 2)
    note_queued(state, 3)
    assert state.of.waiting_tasks == 2
    note_queued(state, 1)
    assert state.of.waiting_tasks == 1
    note_queued(state, 0)
    assert state.of.waiting_tasks == 0


def test_a_task_taken_in_part_still_waits() -> None:
    state = sent(10)
    note_queued(state, 4)
    assert state.of.waiting_tasks == 1


def test_more_queued_than_was_sent_changes_nothing() -> None:
    """After a sweep a worker holds what it never sent itself."""
    state = sent(2)
    note_queued(state, 50)
    assert state.of.waiting_tasks == 1


def test_the_tasks_of_a_handler_are_counted_over_its_domains() -> None:
    state = sent(2)
    other = make_group("payment", of=state.of)
    note_sent(other, 1)
    assert state.of.waiting_tasks == 2
    note_queued(state, 0)
    assert (1, [False, True]) == (state.of.waiting_tasks, [bool(g.sent) for g in state.of.groups])
