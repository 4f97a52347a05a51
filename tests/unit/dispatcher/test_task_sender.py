"""What is sent and sent again, and how many delivery tasks wait by what is still queued."""

from __future__ import annotations

import logging

import pytest

from celeriac import BusUnavailable
from celeriac.dispatcher import task_sender
from celeriac.dispatcher.chunk import Chunk
from celeriac.dispatcher.circuits import CircuitCache
from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.group_table import GroupTable
from celeriac.dispatcher.task_sender import TASKS_AHEAD, TaskSender, note_queued, note_sent
from tests.logged import messages_of, records_of
from tests.unit.dispatcher.groups import make_group


def sent(*sizes: int) -> GroupState:
    state = make_group("order")
    for size in sizes:
        note_sent(state, size)
    return state


def test_a_sent_task_waits_until_the_store_has_another_state() -> None:
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
    """After reclaiming, a worker holds what it never sent itself."""
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


class Broker:
    """Takes the chunks of all domains but the refused ones."""

    def __init__(self) -> None:
        self.refused: dict[str, Exception] = {}
        self.got: list[str] = []
        groups = GroupTable()
        self.states = {domain: make_group(domain) for domain in ("order", "payment", "parcel")}
        for state in self.states.values():
            groups.add(state)
        self.sender = TaskSender(self.send, 1, groups, CircuitCache())
        self.sender.add([Chunk(s.handler, s.group, (), id="") for s in self.states.values()])

    def send(self, chunk: Chunk) -> None:
        if chunk.group.domain in self.refused:
            raise self.refused[chunk.group.domain]
        self.got.append(chunk.group.domain)


def test_a_chunk_that_cannot_be_sent_holds_up_no_other_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker()
    broker.refused["order"] = ValueError("not to be written")
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            broker.sender.flush()
    assert broker.got == ["payment", "parcel"]
    [record] = records_of(caplog, task_sender)
    assert "a delivery task of billing.charge cannot be sent" in record.getMessage()
    broker.refused.clear()
    broker.sender.flush()
    broker.sender.flush()
    assert broker.got == ["payment", "parcel", "order"]


def test_what_the_broker_refuses_stays_in_order() -> None:
    broker = Broker()
    broker.refused = {"order": ValueError(), "payment": BusUnavailable("down")}
    with pytest.raises(BusUnavailable):
        broker.sender.flush()
    assert broker.got == []
    broker.refused.clear()
    broker.sender.flush()
    assert broker.got == ["order", "payment", "parcel"]


def test_a_chunk_that_failed_is_dropped_with_its_group() -> None:
    broker = Broker()
    broker.refused["order"] = ValueError()
    broker.sender.flush()
    broker.sender.drop(broker.states["order"])
    broker.refused.clear()
    broker.sender.flush()
    assert broker.got == ["payment", "parcel"]


def test_a_failure_is_logged_again_after_all_chunks_were_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker, state = Broker(), make_group("order", "other")
    for _ in range(2):
        broker.refused["order"] = ValueError()
        for _ in range(3):
            broker.sender.flush()
        broker.refused.clear()
        broker.sender.flush()
        broker.sender.add([Chunk(state.handler, state.group, ())])
    assert [
        "celeriac: a delivery task of billing.charge cannot be sent; retrying",
        "celeriac: a delivery task of billing.other cannot be sent; retrying",
    ] == messages_of(caplog, task_sender)


@pytest.mark.parametrize(("chunk_id", "waiting"), [("", 1), ("c", 0)])
def test_a_task_with_an_open_chunk_is_not_counted(chunk_id: str, waiting: int) -> None:
    broker = Broker()
    state = broker.states["order"]
    for other in broker.states.values():
        broker.sender.drop(other)
    broker.sender.add([Chunk(state.handler, state.group, (), id=chunk_id)])
    assert TASKS_AHEAD - waiting == broker.sender.available_tasks(state)
    broker.sender.flush()
    assert waiting == state.of.waiting_tasks


def test_a_sent_task_of_a_group_that_is_no_longer_served_is_not_counted() -> None:
    broker, gone = Broker(), make_group("gone")
    broker.sender.add([Chunk(gone.handler, gone.group, ())])
    broker.sender.flush()
    assert ("gone", 0) == (broker.got[-1], gone.of.waiting_tasks)


@pytest.mark.parametrize(
    ("waiting", "enough", "available"),
    [(0, False, 8), (7, False, 1), (8, True, 0), (9, True, -1)],
)
def test_four_tasks_for_each_process_may_wait(waiting: int, enough: bool, available: int) -> None:
    sender = TaskSender(lambda _: None, 2, GroupTable(), CircuitCache())
    state = sent(*[1] * waiting)
    assert (enough, available) == (sender.has_enough(state), sender.available_tasks(state))


def test_unsent_tasks_of_the_same_handler_count_as_waiting() -> None:
    sender = TaskSender(lambda _: None, 2, GroupTable(), CircuitCache())
    state, other = make_group("order"), make_group("order", "other")
    sender.add([Chunk(g.handler, g.group, ()) for g in (state, state, other)])
    assert (6, 7) == (sender.available_tasks(state), sender.available_tasks(other))
