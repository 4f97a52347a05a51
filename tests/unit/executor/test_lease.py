"""Leases are renewed while handlers run, by one thread that is there only then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.delivery import Group
from celeriac.executor import lease
from celeriac.executor.lease import LeaseKeeper
from celeriac.executor.run_limit import RunLimit
from celeriac.testing.store import Store
from tests.logged import records_of
from tests.unit.test_fork import in_child

GROUP = Group("order", "billing.charge")


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="billing", lease=0.5)


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 30
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()


def threads() -> int:
    return sum(thread.name == "celeriac-leases" for thread in threading.enumerate())


def test_what_is_held_is_renewed_until_it_is_finished(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[Any] = []

    def renew(worker: str, group: Group, held: Sequence[tuple[str, int]]) -> list[str]:
        renewed.append((worker, group, held))
        return []

    monkeypatch.setattr(store.deliveries, "renew", renew)
    keeper, held = LeaseKeeper(bus.service), {"1-0": 1, "2-0": 3}
    before = threads()
    with keeper.keeping(GROUP, held):
        assert eventually(lambda: len(renewed) >= 1)
        held.pop("1-0")
        count = len(renewed)
        assert eventually(lambda: len(renewed) > count + 1)
    assert (bus.service.worker, GROUP, [("1-0", 1), ("2-0", 3)]) == renewed[0]
    assert (bus.service.worker, GROUP, [("2-0", 3)]) == renewed[-1]
    count = len(renewed)
    assert eventually(lambda: threads() <= before)
    # A round may have been under way at the end. Its thread ends without another one.
    assert len(renewed) <= count + 1


def test_the_thread_does_not_delay_the_exit_of_the_process(bus: EventBus) -> None:
    with LeaseKeeper(bus.service).keeping(GROUP, {}):
        found = [thread for thread in threading.enumerate() if thread.name == "celeriac-leases"]
    assert found
    assert all(thread.daemon for thread in found)


def test_any_failure_of_a_renewal_is_survived(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def renew(*args: Any) -> list[str]:
        calls.append(1)
        raise RuntimeError("what was that")

    monkeypatch.setattr(store.deliveries, "renew", renew)
    with LeaseKeeper(bus.service).keeping(GROUP, {"1-0": 1}):
        assert eventually(lambda: len(calls) >= 2)
    assert "leases were not renewed: what was that" in caplog.text


def test_a_lost_lease_is_logged_unless_it_was_completed(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store.deliveries, "renew", lambda *_: ["1-0", "finished"])
    with LeaseKeeper(bus.service).keeping(GROUP, {"1-0": 1}):
        assert eventually(lambda: "lost the lease of 1-0 while running" in caplog.text)


def test_threads_that_begin_together_share_one_keeper(bus: EventBus, store: Store) -> None:
    keeper, before = LeaseKeeper(bus.service), threads()
    together = threading.Barrier(8)
    errors: list[BaseException] = []

    def hold(n: int) -> None:
        try:
            together.wait()
            with keeper.keeping(GROUP, {f"{n}-0": 1}):
                together.wait()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=hold, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [] == errors
    assert threads() <= before + 1


def test_the_child_of_a_fork_holds_nothing(bus: EventBus, store: Store) -> None:
    keeper = LeaseKeeper(bus.service)
    with keeper.keeping(GROUP, {"1-0": 1}):
        keeper.reset()
        assert keeper._thread is None
    with keeper.keeping(GROUP, {"2-0": 1}):
        assert keeper._thread is not None


# -- the rounds of its thread, at simulated times


class Rounds:
    """Runs the loop of a keeper in this thread. `renewed` has the times of renewals, and `fails`
    decides which of them fail, by their number."""

    def __init__(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, *, lease_seconds: float
    ) -> None:
        self.keeper = LeaseKeeper(EventBus(service="billing", lease=lease_seconds).service)
        # No thread of its own starts.
        self.keeper._thread = threading.current_thread()
        self.now, self.until = 0.0, 0.0
        self.slept: list[float] = []
        self.renewed: list[float] = []
        self.groups: list[Group] = []
        self.fails: Callable[[int], bool] = lambda number: False
        self.lost: list[str] = []
        self.during_sleep: Callable[[], None] = lambda: None
        # Keepers of other tests may still have their threads, which use the real time.
        self._thread = threading.get_ident()
        clock = SimpleNamespace(monotonic=self._monotonic, sleep=self._sleep)
        monkeypatch.setattr(lease, "time", clock)
        monkeypatch.setattr(store.deliveries, "renew", self._renew)
        monkeypatch.setattr(store.backend.chunks, "renew", self._renew)

    def run(self, until: float) -> None:
        """Keep what is kept until this time, and then nothing."""
        self.until = until
        self.keeper._run()

    def levels(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.levelname for record in records_of(caplog, lease)]

    def _is_own(self) -> bool:
        return threading.get_ident() == self._thread

    def _monotonic(self) -> float:
        return self.now if self._is_own() else time.monotonic()

    def _sleep(self, seconds: float) -> None:
        if not self._is_own():
            time.sleep(seconds)
            return
        self.slept.append(seconds)
        self.now += seconds
        self.during_sleep()
        if self.now >= self.until:
            self.keeper._deliveries.clear()
            self.keeper._chunks.clear()

    def _renew(self, worker: str, group: Group, leases: list[Any]) -> list[str]:
        if not self._is_own():
            return []
        self.renewed.append(self.now)
        self.groups.append(group)
        if self.fails(len(self.renewed)):
            raise RuntimeError("away")
        return self.lost


@pytest.fixture
def rounds(store: Store, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """A third of the lease is 3 s."""
    return Rounds(store, monkeypatch, lease_seconds=9.0)


KINDS = pytest.mark.parametrize("kind", ["deliveries", "chunks"])


def keep(rounds: Rounds, kind: str) -> AbstractContextManager[None]:
    keeper = rounds.keeper
    if kind == "deliveries":
        return keeper.keeping(GROUP, {"1-0": 1})
    return keeper.keeping_chunks(GROUP, ["chunk"])


@KINDS
def test_leases_are_renewed_every_third_of_a_lease_and_slow_events_checked_each_second(
    rounds: Rounds, kind: str
) -> None:
    with keep(rounds, kind):
        rounds.run(until=7.0)
    assert rounds.renewed == [3.0, 6.0]
    assert rounds.slept == [1.0] * 9
    assert rounds.keeper._thread is None, "the next lease starts another thread"


def test_each_round_renews_the_leases_of_every_group(rounds: Rounds) -> None:
    """In a pool of threads or greenlets one process runs several chunks at once."""
    other = Group("payment", "billing.charge")
    with rounds.keeper.keeping(GROUP, {"1-0": 1}), rounds.keeper.keeping(other, {"1-0": 1}):
        rounds.run(until=7.0)
    assert rounds.renewed == [3.0, 3.0, 6.0, 6.0]
    assert rounds.groups == [GROUP, other] * 2


@KINDS
def test_a_failed_renewal_is_retried_soon_until_one_succeeds(
    rounds: Rounds, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each outage is one warning."""
    caplog.set_level(logging.DEBUG)
    rounds.fails = lambda number: number in (1, 2, 5)
    with keep(rounds, kind):
        rounds.run(until=11.0)
    assert rounds.renewed == [3.0, 3.5, 4.0, 7.0, 10.0, 10.5]
    assert rounds.levels(caplog) == ["WARNING", "DEBUG", "WARNING"]


@KINDS
def test_a_short_lease_is_retried_at_its_own_pace(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rounds = Rounds(store, monkeypatch, lease_seconds=0.75)
    rounds.fails = lambda number: True
    with keep(rounds, kind):
        rounds.run(until=0.8)
    assert rounds.renewed == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_single_failure_of_a_round_is_retried(rounds: Rounds, failing: int) -> None:
    rounds.fails = lambda number: number == failing
    with (
        rounds.keeper.keeping(GROUP, {"1-0": 1}),
        rounds.keeper.keeping(GROUP, {"2-0": 1}),
        rounds.keeper.keeping_chunks(GROUP, ["chunk"]),
    ):
        rounds.run(until=3.6)
    assert rounds.renewed == [3.0] * 3 + [3.5] * 3


def test_what_has_no_lease_left_is_not_renewed(rounds: Rounds) -> None:
    with rounds.keeper.keeping(GROUP, {}), rounds.keeper.keeping_chunks(GROUP, []):
        rounds.run(until=4.0)
    assert (rounds.renewed, rounds.slept) == ([], [1.0] * 6)


def test_a_lease_that_ended_is_not_renewed(rounds: Rounds) -> None:
    keeping = rounds.keeper.keeping(GROUP, {"1-0": 1})
    keeping.__enter__()

    def end() -> None:
        if rounds.now == 4.0:
            keeping.__exit__(None, None, None)

    rounds.during_sleep = end
    rounds.run(until=100.0)
    assert rounds.renewed == [3.0]
    assert rounds.now == 6.0, "the thread ended"


@pytest.mark.parametrize(
    ("lost", "waits", "text"),
    [
        ([], False, ""),
        (["finished"], True, ""),
        (["1-0", "finished"], True, "billing.charge: lost the lease of 1-0 while running"),
    ],
)
def test_a_loss_is_logged_if_the_lease_is_still_kept_after_a_reply_could_arrive(
    rounds: Rounds, caplog: pytest.LogCaptureFixture, lost: list[str], waits: bool, text: str
) -> None:
    rounds.lost = lost
    with rounds.keeper.keeping(GROUP, {"1-0": 1}):
        rounds.run(until=4.0)
    assert (lease.ANSWERED_WITHIN in rounds.slept) == waits
    assert text in caplog.text
    assert rounds.levels(caplog) == (["WARNING"] if text else [])
    assert rounds.renewed == [3.0], "a lost lease is no failed renewal"


def test_what_is_completed_during_a_renewal_is_not_logged_as_lost(
    rounds: Rounds, caplog: pytest.LogCaptureFixture
) -> None:
    """The delivery store has completed it; the executor has not read the answer yet."""
    held = {"1-0": 1, "2-0": 1}

    def complete() -> None:
        if rounds.slept[-1] == lease.ANSWERED_WITHIN:
            held.pop("1-0", None)

    rounds.lost, rounds.during_sleep = ["1-0", "2-0"], complete
    with rounds.keeper.keeping(GROUP, held):
        rounds.run(until=4.0)
    assert list(held) == ["2-0"]
    assert "lost the lease of 2-0 while running" in caplog.text
    assert "1-0" not in caplog.text


@pytest.mark.parametrize(("requeues", "levels"), [(True, ["INFO"]), (False, [])])
def test_what_waits_behind_a_slow_event_is_requeued_at_the_next_check(
    rounds: Rounds, caplog: pytest.LogCaptureFixture, requeues: bool, levels: list[str]
) -> None:
    caplog.set_level(logging.INFO)
    requeued: list[int] = []
    limit = RunLimit(2, requeued.append)
    limit.running = 1 if requeues else 0
    with rounds.keeper.keeping(GROUP, {"1-0": 1}), rounds.keeper.limiting(GROUP, limit):
        rounds.run(until=2.5)
    assert requeued == ([1] if requeues else [])
    assert rounds.levels(caplog) == levels


@pytest.mark.parametrize(("count", "is_watched"), [(1, False), (2, True), (3, True)])
def test_only_a_task_of_several_parts_is_watched_and_only_until_it_ends(
    rounds: Rounds, count: int, is_watched: bool
) -> None:
    requeued: list[int] = []
    limit = RunLimit(count, requeued.append)
    with rounds.keeper.limiting(GROUP, limit):
        assert bool(rounds.keeper._limits) == is_watched
        limit.running = 1
        assert not limit.requeue_behind(0.0)
    assert not rounds.keeper._limits
    assert (limit.requeue_behind(60.0), requeued) == (False, []), "its process requeues the rest"


def test_a_forked_child_keeps_no_lease_of_its_parent(bus: EventBus, store: Store) -> None:
    keeper = LeaseKeeper(bus.service)
    with keeper.keeping(GROUP, {"1-0": 1}):
        assert in_child(lambda: keeper._thread is None and not keeper._deliveries)
        assert keeper._thread is not None
