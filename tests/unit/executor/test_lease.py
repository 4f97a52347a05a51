"""Leases are renewed while handlers run, by one thread that is there only then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.delivery import Group
from celeriac.executor.lease import LeaseKeeper
from celeriac.testing.store import Store

LANE = Group("order", "billing.charge")


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="billing", lease=0.5)


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 5
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
    with keeper.keeping(LANE, held):
        assert eventually(lambda: len(renewed) >= 1)
        held.pop("1-0")
        count = len(renewed)
        assert eventually(lambda: len(renewed) > count + 1)
    assert (bus.service.worker, LANE, [("1-0", 1), ("2-0", 3)]) == renewed[0]
    assert (bus.service.worker, LANE, [("2-0", 3)]) == renewed[-1]
    count = len(renewed)
    assert eventually(lambda: threads() <= before)
    assert count == len(renewed)


def test_each_round_renews_the_leases_of_every_lane(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pool of threads or greenlets one process runs several chunks at once."""
    renewed: list[Group] = []

    def renew(worker: str, group: Group, held: Sequence[tuple[str, int]]) -> list[str]:
        renewed.append(group)
        return []

    monkeypatch.setattr(store.deliveries, "renew", renew)
    keeper, other = LeaseKeeper(bus.service), Group("payment", "billing.charge")
    with keeper.keeping(LANE, {"1-0": 1}), keeper.keeping(other, {"1-0": 1}):
        assert eventually(lambda: len(renewed) >= 4)
    assert [LANE, other] * 2 == renewed[:4]


def test_any_failure_of_a_renewal_is_survived(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def renew(*args: Any) -> list[str]:
        calls.append(1)
        raise RuntimeError("what was that")

    monkeypatch.setattr(store.deliveries, "renew", renew)
    with LeaseKeeper(bus.service).keeping(LANE, {"1-0": 1}):
        assert eventually(lambda: len(calls) >= 2)
    assert "leases were not renewed: what was that" in caplog.text


def test_a_lost_lease_is_told_unless_it_was_finished(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store.deliveries, "renew", lambda *_: ["1-0", "finished"])
    with LeaseKeeper(bus.service).keeping(LANE, {"1-0": 1}):
        assert eventually(lambda: "lost the lease of 1-0 while running" in caplog.text)


def test_what_is_finished_in_the_very_moment_of_a_renewal_is_not_told_as_lost(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger has it finished; the executor has not read the answer yet."""
    held, asked = {"1-0": 1, "2-0": 1}, threading.Event()

    def renew(*_: Any) -> list[str]:
        asked.set()
        return ["1-0", "2-0"]

    monkeypatch.setattr(store.deliveries, "renew", renew)
    with LeaseKeeper(bus.service).keeping(LANE, held):
        assert asked.wait(5)
        del held["1-0"]
        assert eventually(lambda: "lost the lease of" in caplog.text)
    assert "1-0" not in caplog.text


def test_threads_that_begin_together_share_one_keeper(bus: EventBus, store: Store) -> None:
    keeper, before = LeaseKeeper(bus.service), threads()
    together = threading.Barrier(8)
    errors: list[BaseException] = []

    def hold(n: int) -> None:
        try:
            together.wait()
            with keeper.keeping(LANE, {f"{n}-0": 1}):
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
    with keeper.keeping(LANE, {"1-0": 1}):
        keeper.reset()
        assert keeper._thread is None
    with keeper.keeping(LANE, {"2-0": 1}):
        assert keeper._thread is not None
