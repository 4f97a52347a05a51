"""How many delivery tasks wait, by what was sent and what is still queued."""

from __future__ import annotations

from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.task_sender import note_queued, note_sent
from tests.unit.dispatcher.groups import make_group


def sent(*sizes: int) -> GroupState:
    group = make_group("order")
    for size in sizes:
        note_sent(group, size)
    return group


def test_a_task_that_was_sent_waits_until_the_store_says_otherwise() -> None:
    assert sent(3, 1, 2).of.waiting_tasks == 3
    assert sent().of.waiting_tasks == 0


def test_the_oldest_tasks_are_the_ones_that_were_taken() -> None:
    group = sent(3, 1, 2)
    note_queued(group, 3)
    assert group.of.waiting_tasks == 2
    note_queued(group, 1)
    assert group.of.waiting_tasks == 1
    note_queued(group, 0)
    assert group.of.waiting_tasks == 0


def test_a_task_taken_in_part_still_waits() -> None:
    group = sent(10)
    note_queued(group, 4)
    assert group.of.waiting_tasks == 1


def test_more_queued_than_was_sent_changes_nothing() -> None:
    """After a sweep a worker holds what it never sent itself."""
    group = sent(2)
    note_queued(group, 50)
    assert group.of.waiting_tasks == 1


def test_the_tasks_of_a_handler_are_counted_over_its_domains() -> None:
    group = sent(2)
    other = make_group("payment", of=group.of)
    note_sent(other, 1)
    assert group.of.waiting_tasks == 2
    note_queued(group, 0)
    assert (1, [False, True]) == (group.of.waiting_tasks, [bool(g.sent) for g in group.of.groups])
