"""Mailboxes in memory: what is waited for, and how requests are counted."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from celeriac.reply import RequestEnd, RequestOutcome
from celeriac.reply.store import START
from celeriac.store.memory import replies
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.replies import MemoryReplies

TYPE = "price.asked"


@pytest.fixture
def memory() -> MemoryReplies:
    memory = MemoryReplies(MemoryClock(12_345))
    memory.open("m", TYPE, 1000)
    return memory


def test_the_time_is_that_of_the_clock_or_of_the_process(
    memory: MemoryReplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "time", SimpleNamespace(monotonic=lambda: 7.0))
    assert (memory.monotonic(), MemoryReplies().monotonic()) == (12.345, 7.0)


def test_a_reply_that_is_there_is_not_waited_for(memory: MemoryReplies) -> None:
    def run(seconds: float, waits: Callable[[], bool]) -> None:
        raise AssertionError

    memory.run = run
    assert memory.push("m", b"one", TYPE) is True
    waited = memory.wait("m", START, 9.0)
    assert list(waited.bodies) == [b"one"]


def test_waiting_runs_handlers_until_a_reply_comes(memory: MemoryReplies) -> None:
    waited_for: list[bool] = []

    def run(seconds: float, waits: Callable[[], bool]) -> None:
        assert seconds == 9.0
        waited_for.append(waits())
        memory.push("m", b"two", TYPE)
        waited_for.append(waits())

    memory.push("m", b"one", TYPE)
    position = memory.wait("m", START, 9.0).position
    memory.run = run
    waited = memory.wait("m", position, 9.0)
    assert (list(waited.bodies), waited_for) == ([b"two"], [True, False])
    assert memory.close("m", position) == [b"two"]


@pytest.mark.parametrize(("seconds", "slept"), [(9.0, 0.01), (0.005, 0.005)])
def test_without_handlers_waiting_pauses_briefly(
    memory: MemoryReplies, monkeypatch: pytest.MonkeyPatch, seconds: float, slept: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(replies, "time", SimpleNamespace(sleep=pauses.append))
    assert list(memory.wait("m", START, seconds).bodies) == []
    assert pauses == [slept]


def test_a_closed_mailbox_gets_no_reply(memory: MemoryReplies) -> None:
    assert memory.is_open("m")
    assert memory.close("m", START) == []
    assert not memory.is_open("m")
    assert memory.push("m", b"late", TYPE) is False
    assert memory.stats()[TYPE].late == 1
    assert memory.close("m", START) == []


@pytest.mark.parametrize(
    ("outcome", "observed"), [(RequestOutcome.REPLIED, 1), (RequestOutcome.TIMED_OUT, 0)]
)
def test_the_end_of_a_request_is_counted_once(
    memory: MemoryReplies, outcome: RequestOutcome, observed: int
) -> None:
    memory.open("m", TYPE, 1000)
    assert memory.stats()[TYPE].pending == 1, "opened again"
    for _ in range(2):
        memory.count_end(RequestEnd("m", TYPE, outcome, 500))
    stats = memory.stats()[TYPE]
    assert (stats.pending, stats.count(outcome), stats.took.count) == (0, 1, observed)
    memory.open("n", TYPE, 1000)
    memory.count_end(RequestEnd("n", TYPE, outcome, 500))
    assert memory.stats()[TYPE].count(outcome) == 2
    assert stats.count(outcome) == 1, "a copy"
