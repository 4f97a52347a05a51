"""What a dispatcher does around its iterations: outages, wakeups, and how long it waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import redis

from celeriac import Breaker, BusUnavailable, Event, EventBus
from celeriac.dispatcher import Dispatcher
from celeriac.dispatcher.dispatcher import RENEWED_WITHIN, STALLED
from celeriac.dispatcher.group_state import NEVER, NOW
from celeriac.dispatcher.pending import WORKERS_INTERVAL
from celeriac.dispatcher.poll_interval import BUSY, IDLE
from celeriac.store.redis.wakeup import LONGEST_WAIT_MS
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent, record


def charge(event: Event) -> None: ...


@pytest.fixture
def now() -> list[float]:
    """The time of the dispatcher's clock."""
    return [1000.0]


@pytest.fixture
def made(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, now: list[float]
) -> Callable[..., Dispatcher]:
    """Makes a dispatcher of one handler, with this clock."""

    def make(**options: Any) -> Dispatcher:
        bus.on("order.placed")(charge)
        return dispatcher(clock=lambda: now[0], **options)

    return make


class Iterations:
    """Iterations that end as given, and then stop the dispatcher."""

    def __init__(self, dispatcher: Dispatcher, *ends: Exception | float) -> None:
        self._dispatcher, self._ends = dispatcher, list(ends)
        self.woken: list[Any] = []
        self.paused: list[float] = []
        dispatcher.run_once = self._run_once  # type: ignore[method-assign]
        dispatcher._wait = self._wait  # type: ignore[method-assign]
        dispatcher._stopped.wait = self._pause  # type: ignore[assignment,method-assign]

    def _run_once(self, woken: Any = None) -> float:
        self.woken.append(woken)
        end = self._ends.pop(0)
        if not self._ends:
            self._dispatcher.stop()
        if isinstance(end, Exception):
            raise end
        return end

    def _wait(self, seconds: float) -> Any:
        return [f"woken after {seconds}"]

    def _pause(self, seconds: float | None = None) -> bool:
        self.paused.append(seconds or 0.0)
        return False


# -- outages


def test_each_iteration_gets_what_woke_it_and_after_a_failure_polls_all(
    made: Callable[..., Dispatcher],
) -> None:
    iterations = Iterations(made(), 0.1, 0.2, BusUnavailable("away"), 0.3)
    iterations._dispatcher.run()
    assert [None, ["woken after 0.1"], ["woken after 0.2"], None] == iterations.woken


def test_the_pause_grows_with_consecutive_failures(
    made: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.dispatcher.outage.random.uniform", lambda a, b: b)
    away = BusUnavailable("away")
    iterations = Iterations(made(), away, away, 0.1, away, 0.1)
    iterations._dispatcher.run()
    assert [0.2, 0.4, 0.2] == iterations.paused


@pytest.mark.parametrize(
    ("error", "from_s", "reconnects"),
    [
        (redis.ConnectionError("reset"), 1000.0 + RENEWED_WITHIN, 0),
        (redis.ReadOnlyError("READONLY replica"), 1000.0 + RENEWED_WITHIN, 1),
        (BusUnavailable("away"), float("-inf"), 0),
        (ValueError("a bug"), float("-inf"), 0),
    ],
)
def test_after_an_outage_of_redis_no_lease_is_reclaimed_for_a_while(
    made: Callable[..., Dispatcher], bus: EventBus, monkeypatch: pytest.MonkeyPatch,
    error: Exception, from_s: float, reconnects: int,
) -> None:  # fmt: skip
    calls: list[str] = []
    dispatcher, event_log = made(), bus.service.backend.event_log
    monkeypatch.setattr(event_log, "reconnect", lambda: calls.append("reconnect"), raising=False)
    Iterations(dispatcher, error)
    dispatcher.run()
    assert (from_s, reconnects) == (dispatcher._pending.reclaim_from, len(calls))


# -- waiting


@pytest.fixture
def waits(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait for a wakeup."""
    seconds: list[float] = []

    def wait(seen: Mapping[str, str], longest: float) -> Mapping[str, str]:
        seconds.append(longest)
        return {stream: "9-0" if stream == "order" else entry for stream, entry in seen.items()}

    monkeypatch.setattr(bus.service.backend.event_log, "wait", wait)
    return seconds


def test_a_wait_returns_the_streams_that_got_entries(
    made: Callable[..., Dispatcher], waits: list[float]
) -> None:
    dispatcher = made()
    assert (["order"], [], [0.3, 0.4]) == (dispatcher._wait(0.3), dispatcher._wait(0.4), waits)
    assert {"order", "wakeup order"} == dispatcher._seen.keys()


@pytest.mark.parametrize(
    ("is_full", "seconds", "paused", "waited"),
    [
        (False, 0.3, [], 0.3),
        (False, BUSY, [BUSY], 0.0),
        (False, BUSY / 2, [BUSY / 2], 0.0),
        (True, 0.3, [BUSY], 0.3 - BUSY),
    ],
)
def test_without_a_slot_new_entries_do_not_end_the_wait_at_once(
    made: Callable[..., Dispatcher], waits: list[float], is_full: bool, seconds: float,
    paused: list[float], waited: float,
) -> None:  # fmt: skip
    dispatcher = made()
    dispatcher._new.is_full = is_full
    pauses: list[float] = []
    dispatcher._stopped.wait = pauses.append  # type: ignore[assignment,method-assign]
    dispatcher._wait(seconds)
    assert (paused, [waited]) == (pauses, waits)


def test_without_streams_it_waits_for_its_time(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher
) -> None:
    bus.on("#")(charge)
    turning = dispatcher()
    pauses: list[float] = []
    turning._stopped.wait = pauses.append  # type: ignore[assignment,method-assign]
    assert (None, [0.3]) == (turning._wait(0.3), pauses)


def test_a_stopped_dispatcher_waits_for_nothing(
    made: Callable[..., Dispatcher], waits: list[float]
) -> None:
    dispatcher = made()
    dispatcher.stop()
    assert ((), []) == (dispatcher._wait(0.3), waits)


LONGEST = LONGEST_WAIT_MS / 1000


@pytest.mark.parametrize(
    ("seconds", "took", "stalled"),
    [
        (0.2, 0.2 + STALLED, False),
        (0.2, 0.3 + STALLED, True),
        (5.0, LONGEST + STALLED, False),
        (5.0, LONGEST + STALLED + 0.1, True),
    ],
)
def test_after_a_wait_that_the_server_held_up_no_lease_is_reclaimed_for_a_while(
    made: Callable[..., Dispatcher], bus: EventBus, monkeypatch: pytest.MonkeyPatch,
    now: list[float], seconds: float, took: float, stalled: bool,
) -> None:  # fmt: skip
    def wait(seen: Mapping[str, str], longest: float) -> Mapping[str, str]:
        now[0] = took
        return seen

    dispatcher = made()
    monkeypatch.setattr(bus.service.backend.event_log, "wait", wait)
    now[0] = 0.0
    dispatcher._wait(seconds)
    from_s = took + RENEWED_WITHIN if stalled else float("-inf")
    assert from_s == dispatcher._pending.reclaim_from


# -- iterations


def test_with_nothing_to_do_the_next_iteration_is_after_the_idle_time_at_the_latest(
    made: Callable[..., Dispatcher],
) -> None:
    dispatcher = made()
    while (pause := dispatcher.run_once(())) == 0.0:
        pass
    assert pause == IDLE


def test_a_delivery_that_the_broker_refused_is_sent_before_new_ones_are_fetched(
    made: Callable[..., Dispatcher], bus: EventBus, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = made()
    bus.emit("order.placed", id="a")
    sent.away = BusUnavailable("away")
    with pytest.raises(BusUnavailable):
        dispatcher.run_once()
    sent.away = None

    def fail(*_: object) -> None:
        raise redis.ConnectionError("reset")

    monkeypatch.setattr(dispatcher._new, "fetch", fail)
    with pytest.raises(redis.ConnectionError):
        dispatcher.run_once()
    assert [["a"]] == sent.ids


def test_the_sources_of_events_are_recorded(
    made: Callable[..., Dispatcher], bus: EventBus, store: Store
) -> None:
    dispatcher = made()
    bus.emit("order.placed")
    dispatcher.run_once()
    assert {bus.settings.source} == set(store.deliveries.sources("order"))


def test_delayed_events_are_appended_at_their_time_or_after_a_wakeup(
    made: Callable[..., Dispatcher], now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = made()
    asked: list[Any] = []

    def enqueue(domains: object, woken: object) -> list[tuple[int, int | None]]:
        asked.append(woken)
        return [(0, None)]

    monkeypatch.setattr(dispatcher, "_delayed_events", enqueue)
    dispatcher._enqueue_due_at = now[0] + 5
    calls: list[tuple[float, Any]] = [
        (0, ()), (0, ["order"]), (0, ["wakeup order"]), (IDLE - 0.1, ()), (IDLE, ()), (IDLE, None),
    ]  # fmt: skip
    began = now[0]
    counts = []
    for after, woken in calls:
        now[0] = began + after
        dispatcher.run_once(woken)
        counts.append(len(asked))
    assert [0, 0, 1, 1, 2, 3] == counts
    assert {"order"} == asked[0]


@pytest.mark.parametrize(
    ("woken", "new", "pending", "is_behind", "is_woken"),
    [
        (None, ["separate", "shared", "other"], ["separate", "shared", "other"], True, False),
        ([], [], [], False, False),
        (["order"], ["separate"], [], True, False),
        (["wakeup order"], [], [], False, True),
        (["item"], ["other"], [], False, False),
        (["wakeup item", "order"], ["separate"], ["other"], True, False),
    ],
)
def test_a_wakeup_is_for_the_groups_that_read_separately_and_for_the_reader(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, woken: Any, new: list[str],
    pending: list[str], is_behind: bool, is_woken: bool,
) -> None:  # fmt: skip
    for name in ("separate", "shared", "a", "b"):
        bus.on("order.placed", name=name)(charge)
    bus.on("item.sold", name="other")(charge)
    turning = dispatcher()
    states = {state.handler.name: state for state in turning._groups if len(state.handler.name) > 1}
    for name, state in states.items():
        state.is_shared = name == "shared"
        state.fetch_at = state.pending_at = NEVER
    reading = turning._reader._readings["order"]
    reading.is_behind = reading.is_woken = False
    turning._wake(woken)
    assert sorted(new) == sorted(name for name, at in states.items() if at.fetch_at == NOW)
    assert sorted(pending) == sorted(name for name, at in states.items() if at.pending_at == NOW)
    assert (is_behind, is_woken) == (reading.is_behind, reading.is_woken)


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ([], IDLE),
        ([(0, None)], IDLE),
        ([(0, 300), (0, 200), (0, None)], 0.2),
        ([(0, 60_000)], IDLE),
        ([(0, 300), (1, None)], 0.0),
    ],
)
def test_delayed_events_are_looked_for_when_the_next_one_is_due(
    made: Callable[..., Dispatcher], store: Store, monkeypatch: pytest.MonkeyPatch,
    answers: list[tuple[int, int | None]], seconds: float,
) -> None:  # fmt: skip
    dispatcher = made()
    base = store.clock.now_ms()
    given = [(moved, at if at is None else base + at) for moved, at in answers]
    monkeypatch.setattr(dispatcher, "_delayed_events", lambda domains, woken: given)
    assert seconds == pytest.approx(dispatcher._enqueue_due(()))


def test_domains_are_searched_at_once_after_maintenance_found_some(
    made: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = made()
    looks: list[bool] = []
    monkeypatch.setattr(dispatcher._members, "look_for_domains", lambda: looks.append(True))
    for found in (False, True):
        monkeypatch.setattr(dispatcher._maintenance, "run", lambda *_, f=found, **__: f)
        dispatcher.run_once(())
        assert found is bool(looks)


def test_the_workers_are_read_in_an_interval(
    made: Callable[..., Dispatcher], bus: EventBus, now: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    dispatcher, registry = made(), bus.service.backend.registry
    workers, calls = registry.workers, list[float]()

    def noted() -> Any:
        calls.append(now[0])
        return workers()

    monkeypatch.setattr(registry, "workers", noted)
    began = now[0]
    for after in (WORKERS_INTERVAL - 0.1, WORKERS_INTERVAL, 2 * WORKERS_INTERVAL - 0.1):
        now[0] = began + after
        dispatcher._read_workers()
    assert [began + WORKERS_INTERVAL] == calls


@pytest.mark.parametrize(
    ("reserved", "has_pool", "here"), [(1, True, 3), (0, True, 4), (9, True, 0), (1, False, None)]
)
def test_slow_handlers_leave_the_reserved_processes_of_this_worker_free(
    store: Store, sent: Sent, reserved: int, has_pool: bool, here: int | None
) -> None:
    bus = EventBus(service="billing", reserved_processes=reserved)
    bus.on("order.placed")(charge)
    queues = (lambda: ["billing"]) if has_pool else None
    turning = Dispatcher(
        bus.service, sent.send, processes=4, queues=queues, describe=lambda: record(bus)
    )
    turning.run_once()
    assert here == turning._share.here
    assert {"billing.charge": max(0, 4 - reserved)} == turning._share.processes


def test_an_opened_circuit_requeues_the_groups_of_its_handler_alone(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    bus.on("order.placed", breaker=Breaker())(charge)
    bus.on("order.placed", name="other", breaker=Breaker())(charge)
    turning = dispatcher()
    requeued: list[str] = []
    turning._requeue_group = lambda state: requeued.append(state.handler.id)  # type: ignore[method-assign]
    store.backend.circuits.pause("billing.charge")
    turning.run_once()
    assert ["billing.charge"] == requeued
    assert "billing.charge is paused" in caplog.text
