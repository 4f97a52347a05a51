"""The handlers that a worker runs follow the queues that it consumes, also while it runs."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from celeriac import BusUnavailable, Event, EventBus
from celeriac.delivery import FetchRequest, Group
from celeriac.dispatcher import Dispatcher
from celeriac.dispatcher.handler_assignment import UnservedHandlers
from celeriac.handler import Handler, HandlerOptions, make_handler
from celeriac.registry import WorkerRecord
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent, record


def charge(event: Event) -> None: ...


@pytest.fixture
def queues(bus: EventBus) -> set[str]:
    """Those that the worker consumes. There are handlers for `billing` and for `slow`."""
    bus.on("order.placed", name="here")(charge)
    bus.on("order.placed", "#", name="slow", queue="slow", priority=9)(charge)
    return {"billing", "slow"}


@pytest.fixture
def turning(queues: set[str], dispatcher: MakeDispatcher) -> Dispatcher:
    made = dispatcher(queues=lambda: queues, processes=8)
    made.run_once()
    return made


def emit(bus: EventBus, *ids: str, type: str = "order.placed") -> None:
    for id in ids:
        bus.emit(type, id=id)


def ran(sent: Sent) -> list[tuple[str, str]]:
    return [(chunk.handler.name, item.event.id) for chunk in sent for item in chunk.items]


def test_a_handler_whose_queue_was_cancelled_gets_no_tasks(
    bus: EventBus, turning: Dispatcher, queues: set[str], sent: Sent
) -> None:
    queues.remove("slow")
    emit(bus, "a")
    turning.run_once()
    assert ran(sent) == [("here", "a")]


def test_what_was_queued_for_it_goes_to_another_worker_at_once(
    bus: EventBus, store: Store, turning: Dispatcher, queues: set[str], sent: Sent
) -> None:
    emit(bus, "a")
    turning.run_once()
    assert ("slow", "a") in ran(sent)
    queues.remove("slow")
    turning.run_once()
    (taken,) = store.deliveries.fetch(
        "other", [FetchRequest(Group("order", "billing.slow"), limit=9)]
    )
    assert [delivery.attempts for delivery in taken.deliveries] == [0]


def test_what_the_broker_did_not_take_yet_is_not_sent_after_it(
    bus: EventBus, turning: Dispatcher, queues: set[str], sent: Sent
) -> None:
    sent.away = BusUnavailable("the broker is away")
    emit(bus, "a")
    with pytest.raises(BusUnavailable):
        turning.run_once()
    sent.away = None
    queues.remove("slow")
    turning.run_once()
    assert ran(sent) == [("here", "a")]


def test_a_handler_whose_queue_was_added_runs(
    bus: EventBus, store: Store, turning: Dispatcher, queues: set[str], sent: Sent
) -> None:
    """From where it stopped, and also in domains that appeared in the meantime."""
    queues.remove("slow")
    turning.run_once()
    emit(bus, "a")
    emit(bus, "b", type="payment.failed")
    turning.run_once()
    queues.add("slow")
    turning.run_once()
    turning.run_once()
    assert sorted(ran(sent)) == [("here", "a"), ("slow", "a"), ("slow", "b")]


def test_a_handler_that_never_ran_here_joins_when_its_queue_is_added(
    bus: EventBus, store: Store, queues: set[str], dispatcher: MakeDispatcher, sent: Sent
) -> None:
    queues.remove("slow")
    turning = dispatcher(queues=lambda: queues)
    assert store.registry.handlers().keys() == {"billing.here"}
    queues.add("slow")
    turning.run_once()
    emit(bus, "a")
    turning.run_once()
    # in the order of their urgency
    assert ran(sent) == [("slow", "a"), ("here", "a")]


def test_a_change_that_fails_is_made_in_the_next_turn(
    bus: EventBus, store: Store, turning: Dispatcher, queues: set[str], sent: Sent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def away(*_: Any) -> int:
        raise ConnectionError

    queues.remove("slow")
    with monkeypatch.context() as patch:
        patch.setattr(store.deliveries, "requeue", away)
        with pytest.raises(ConnectionError):
            turning.run_once()
    emit(bus, "a")
    turning.run_once()
    assert ran(sent) == [("here", "a")]


def test_an_operator_s_removal_outlives_a_change_of_queues(
    bus: EventBus, store: Store, turning: Dispatcher, queues: set[str], sent: Sent
) -> None:
    store.registry.unregister("billing.here")
    store.event_log.leave("order", "billing.here")
    turning.run_once()
    queues.remove("slow")
    turning.run_once()
    assert not turning.handlers


def test_the_change_is_logged_and_beaten_at_once(
    bus: EventBus, store: Store, queues: set[str], dispatcher: MakeDispatcher,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def describe() -> WorkerRecord:
        return msgspec.structs.replace(record(bus), queues=tuple(sorted(queues)))

    turning = dispatcher(queues=lambda: queues, describe=describe, clock=lambda: 1.0)
    queues.remove("slow")
    with caplog.at_level(logging.INFO):
        turning.run_once()
        assert store.registry.workers()[0].queues == ("billing",)
        queues.add("slow")
        turning.run_once()
    assert [m for m in caplog.messages if "billing.slow" in m] == [
        "celeriac: billing.slow no longer runs here (queue slow)",
        "celeriac: billing.slow runs here now, from queue slow",
    ]


# -- handlers that no worker runs


def handler(name: str) -> Handler:
    return make_handler(
        charge, ("order.placed",), HandlerOptions(name=name, queue="slow"), service="billing"
    )


def worker(bus: EventBus, *handlers: str, beat_ms: int) -> WorkerRecord:
    return msgspec.structs.replace(record(bus), name="other", handlers=handlers, beat_ms=beat_ms)


def test_a_handler_without_a_worker_is_reported_at_the_second_look_and_once(bus: EventBus) -> None:
    unserved, slow = UnservedHandlers(), handler("slow")
    assert [unserved.check([slow], [], 0) for _ in range(4)] == [[], [slow], [], []]


def test_a_handler_that_another_living_worker_runs_is_not_reported(bus: EventBus) -> None:
    unserved, slow, other = UnservedHandlers(), handler("slow"), handler("other")
    living = worker(bus, "billing.slow", beat_ms=1000)
    looks = [unserved.check([slow, other], [living], 2000) for _ in range(2)]
    assert looks == [[], [other]]


def test_a_handler_whose_last_worker_died_is_reported_and_again_after_the_next(
    bus: EventBus,
) -> None:
    unserved, slow = UnservedHandlers(), handler("slow")
    dead = worker(bus, "billing.slow", beat_ms=0)
    looks = [
        unserved.check([slow], workers, 60_000)
        for workers in ([dead], [dead], [dead], [worker(bus, "billing.slow", beat_ms=59_000)])
    ]
    assert looks == [[], [slow], [], []]
    assert [unserved.check([slow], [dead], 60_000) for _ in range(2)] == [[], [slow]]


@pytest.mark.parametrize(("silent_ms", "reported"), [(15_000, False), (15_001, True)])
def test_a_worker_lives_for_three_heartbeats(bus: EventBus, silent_ms: int, reported: bool) -> None:
    unserved, slow = UnservedHandlers(), handler("slow")
    last = worker(bus, "billing.slow", beat_ms=1000)
    looks = [unserved.check([slow], [last], 1000 + silent_ms) for _ in range(2)]
    assert looks == [[], [slow] if reported else []]


def test_the_dispatcher_warns_of_it_with_the_remedy(
    turning: Dispatcher, queues: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    queues.remove("slow")
    for _ in range(4):
        turning.run_once()
    assert [m for m in caplog.messages if "no living worker" in m] == [
        "no living worker runs billing.slow, and this one does not consume its queue slow: its "
        "events wait in the log. Start a worker with -Q slow, or add the queue here: celery -A "
        "<module> control add_consumer slow"
    ]


def test_the_dispatcher_warns_of_nothing_that_another_worker_runs(
    bus: EventBus, store: Store, turning: Dispatcher, queues: set[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    store.registry.heartbeat(worker(bus, "billing.slow", beat_ms=0))
    queues.remove("slow")
    for _ in range(4):
        turning.run_once()
    assert "no living worker" not in caplog.text
