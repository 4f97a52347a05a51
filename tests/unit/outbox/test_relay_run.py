"""When a relay makes its passes, how long it waits, and what it chooses: without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from celeriac import BusUnavailable, EventBus, LogFull
from celeriac.event import encode
from celeriac.outbox import relay as module
from celeriac.outbox.database import Execute
from celeriac.outbox.publish import Published
from celeriac.outbox.relay import FULL_PAUSE, MIN_PAUSE, Relay, RelayPass
from celeriac.testing.store import Store
from tests.logged import messages_of

POLL = 0.75


class Rows:
    """A database without tables of processes. `rows` are (id, domain, body); all are waiting."""

    name, kind, poll = "test", "sqlite", POLL

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, bytes]] = []
        self.is_leader = True
        self.waits: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.closed = 0
        self.failed: list[tuple[int, str, int]] = []

    @contextmanager
    def as_leader(self) -> Iterator[Execute | None]:
        yield self.execute if self.is_leader else None

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        yield self.execute

    def execute(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        excluded = {value for name, value in parameters.items() if name[0] == "d"}
        named = {value for name, value in parameters.items() if name[0] == "i" and name != "id"}
        if "LENGTH(body)" in sql:
            found = [(id, len(body)) for id, domain, body in self.rows if domain not in excluded]
            return found[: parameters["max_rows"]]
        if sql.startswith("DELETE"):
            self.rows = [row for row in self.rows if row[0] not in named]
        if sql.startswith("UPDATE"):
            self.failed.append((parameters["id"], parameters["error"], parameters["now"]))
        if "event_id, domain, body" in sql:
            return [(id, str(id), d, body, None) for id, d, body in self.rows if id in named]
        return []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.on_wait()

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def database() -> Rows:
    return Rows()


@pytest.fixture
def relay(database: Rows, bus: EventBus, store: Store) -> Relay:
    return Relay(database, bus.settings, store.event_log)


def add(database: Rows, bus: EventBus, *types: str, size: int = 0) -> None:
    for type in types:
        event = bus.event(type, "x" * size)
        database.rows.append((len(database.rows) + 1, event.domain, encode(event)))


def scripted(relay: Relay, monkeypatch: pytest.MonkeyPatch, *results: Any) -> None:
    """Make the passes of the relay return or raise these results, and then stop it."""
    remaining = list(results)

    def run_pass() -> RelayPass:
        result = remaining.pop(0)
        if not remaining:
            relay.stop()
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, RelayPass)
        return result

    monkeypatch.setattr(relay, "run_pass", run_pass)


def test_it_waits_for_a_commit_unless_there_may_be_more_rows(
    relay: Relay, database: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(relay, monkeypatch, RelayPass(more=True), RelayPass(), RelayPass(active=False))
    relay.run()
    assert [0, POLL, POLL] == database.waits
    assert 1 == database.closed


def test_it_pauses_after_a_failure_instead_of_waiting_for_a_commit(
    relay: Relay, database: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(relay._stop, "wait", paused.append)
    failure = RelayPass(failure=BusUnavailable("away"))
    scripted(relay, monkeypatch, failure, OSError("refused"), RelayPass(), RelayPass(more=True))
    relay.run()
    assert [MIN_PAUSE, 2 * MIN_PAUSE] == paused
    assert [POLL, 0] == database.waits


def test_a_wait_that_fails_pauses_the_next_pass(
    relay: Relay, database: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("closed\nby the server")

    database.on_wait = fail
    relay._wait(5)
    assert (MIN_PAUSE, [5]) == (relay._pause, database.waits)
    assert ["celeriac: the relay of test cannot publish: OSError: closed"] == messages_of(
        caplog, module
    )


@pytest.mark.parametrize(
    ("result", "messages"),
    [(RelayPass(), ["again"]), (RelayPass(active=False), []), (OSError("away"), [])],
)
def test_only_a_pass_as_leader_ends_an_outage(
    relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    result: Any,
    messages: list[str],
) -> None:
    caplog.set_level("INFO", module.__name__)
    scripted(relay, monkeypatch, OSError("away"), result, RelayPass())
    relay._run_pass_safely()
    caplog.clear()
    relay._run_pass_safely()
    logged = messages_of(caplog, module)
    assert messages == [message.rpartition(" ")[2] for message in logged]
    relay._run_pass_safely()
    logged = messages_of(caplog, module)
    assert 1 == sum("publishes again" in message for message in logged)


def test_the_gate_is_held_during_each_pass(database: Rows, bus: EventBus, store: Store) -> None:
    happened: list[str] = []

    @contextmanager
    def gate() -> Iterator[None]:
        happened.append("enter")
        yield
        happened.append("leave")

    relay = Relay(database, bus.settings, store.event_log, gate=gate())
    database.is_leader = False
    assert not relay._run_pass_safely()
    assert ["enter", "leave"] == happened


def test_a_pass_publishes_and_deletes_the_oldest_rows(
    relay: Relay, database: Rows, bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    add(database, bus, *["order.placed"] * 5)
    results = [relay.run_pass() for _ in range(4)]
    assert [(2, True), (2, True), (1, False), (0, False)] == [
        (result.published, result.more) for result in results
    ]
    assert ([], 5) == (database.rows, relay.published)
    assert all(result.active and not result.failed for result in results)


@pytest.mark.parametrize(
    ("sizes", "passes"),
    [([100, 100, 100], [2, 1]), ([250, 1], [1, 1]), ([1, 250], [1, 1]), ([99, 1, 100], [3])],
)
def test_a_pass_reads_a_bounded_number_of_bytes_and_at_least_one_row(
    relay: Relay,
    database: Rows,
    bus: EventBus,
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[int],
    passes: list[int],
) -> None:
    add(database, bus, "order.placed")
    empty = len(database.rows.pop()[2])
    bound = 200 + (2 if passes == [2, 1] else len(sizes)) * empty
    monkeypatch.setattr(module, "MAX_BYTES", bound)
    for size in sizes:
        add(database, bus, "order.placed", size=size)
    assert passes == [relay.run_pass().published for _ in passes]


def test_another_relay_is_the_leader(relay: Relay, database: Rows, bus: EventBus) -> None:
    add(database, bus, "order.placed")
    database.is_leader = False
    assert RelayPass(active=False) == relay.run_pass()
    assert (0, 0, 1) == (relay.drain(), relay.published, len(database.rows))


def test_rows_that_cannot_be_published_are_failed(
    relay: Relay,
    database: Rows,
    bus: EventBus,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add(database, bus, "order.placed")
    database.rows.append((2, "order", b"{"))
    monkeypatch.setattr("time.time", lambda: 1000.0005)
    result = relay.run_pass()
    assert (1, 1, False) == (result.published, result.failed, result.more)
    [(id, error, failed_ms)] = database.failed
    assert (2, 1_000_000) == (id, failed_ms) and error.startswith("InvalidEvent: ")
    logged = messages_of(caplog, module)
    assert [f"celeriac: row 2 of celeriac_outbox cannot be published: {error}"] == logged


def test_a_full_domain_is_tried_again_after_a_pause(
    relay: Relay, database: Rows, bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    add(database, bus, "order.placed", "stock.low")
    full = Published(done=[2], full={"order": LogFull("full")})
    publish = relay._publisher.publish
    with monkeypatch.context() as patch:
        patch.setattr(relay._publisher, "publish", lambda rows: full)
        assert relay.run_pass().more, "rows of other domains may follow"
    for passed, published in ((0.0, 0), (FULL_PAUSE - 0.01, 0), (FULL_PAUSE, 1)):
        now[0] = 100.0 + passed
        assert published == relay.run_pass().published
    assert publish == relay._publisher.publish and [] == database.rows


@pytest.mark.parametrize(
    ("published", "more"),
    [
        (Published(), False),
        (Published(full={"order": LogFull("full")}), True),
        (Published(full={"order": LogFull("full")}, failure=BusUnavailable("away")), False),
    ],
)
def test_a_failure_ends_a_series_of_passes(
    relay: Relay,
    database: Rows,
    bus: EventBus,
    monkeypatch: pytest.MonkeyPatch,
    published: Published,
    more: bool,
) -> None:
    add(database, bus, "order.placed")
    monkeypatch.setattr(relay._publisher, "publish", lambda rows: published)
    result = relay.run_pass()
    assert (more, published.failure) == (result.more, result.failure)


@pytest.mark.parametrize(("moved", "more"), [(0, False), (3, True)])
def test_a_pass_follows_if_timers_were_moved_to_the_outbox(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, moved: int, more: bool
) -> None:
    times: list[int] = []

    def move(now_ms: int) -> int:
        times.append(now_ms)
        return moved

    monkeypatch.setattr(relay._timers, "move", move)
    monkeypatch.setattr("time.time", lambda: 1000.0005)
    assert more is relay.run_pass().more
    assert [1_000_000] == times


def test_a_drain_sums_its_passes_and_raises_a_failure(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = BusUnavailable("away")
    results = [RelayPass(published=2, more=True), RelayPass(published=1)]
    scripted(relay, monkeypatch, *results)
    assert 3 == relay.drain()
    scripted(relay, monkeypatch, replace(results[0]), RelayPass(failure=away, more=True))
    with pytest.raises(BusUnavailable) as raised:
        relay.drain()
    assert away is raised.value
