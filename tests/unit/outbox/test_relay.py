"""A relay publishes committed rows in order, and marks rows as failed that it cannot publish."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from celeriac import BusUnavailable, ConfigurationError, EventBus, Settings
from celeriac.event_log import EntryKind
from celeriac.event_log.delayed import is_registering
from celeriac.outbox import leader_lock
from celeriac.outbox import relay as relay_module
from celeriac.outbox import status as state
from celeriac.outbox.database import Database, Execute, open_database
from celeriac.outbox.relay import Relay
from celeriac.security.generate import generate
from celeriac.testing.server import start_server
from tests.logged import messages_of
from tests.unit.outbox.conftest import left, published


def emit(bus: EventBus, engine: Engine, *ids: str, type: str = "order.placed") -> None:
    with Session(engine) as session, session.begin():
        for id in ids:
            bus.emit(type, id=id, session=session)


def until(holds: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_committed_is_published_in_order_and_removed(
    live: EventBus, engine: Engine, relay: Relay
) -> None:
    emit(live, engine, "a", "b")
    emit(live, engine, "c")
    assert relay.drain() == 3
    assert published(live) == ["a", "b", "c"]
    assert left(engine) == []
    assert relay.drain() == 0
    assert live.service.backend.event_log.domains() == {"order"}


def test_what_is_not_committed_yet_is_not_published(
    live: EventBus, engine: Engine, relay: Relay
) -> None:
    with engine.connect() as connection:
        live.emit("order.placed", id="later", session=connection)
        assert relay.drain() == 0
        connection.commit()
    assert relay.drain() == 1
    assert published(live) == ["later"]


def test_a_number_that_is_committed_late_is_neither_missed_nor_removed(
    live: EventBus, engine: Engine, relay: Relay
) -> None:
    """The order of ids is not the order of commits."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite commits in the order of the numbers: it has one writer")
    with engine.connect() as first:
        live.emit("order.placed", id="first", session=first)
        emit(live, engine, "second")
        assert relay.drain() == 1
        first.commit()
    assert relay.drain() == 1
    assert published(live) == ["second", "first"]


def test_delayed_events_are_held_until_their_time(
    live: EventBus, engine: Engine, relay: Relay
) -> None:
    with Session(engine) as session, session.begin():
        live.emit("order.placed", id="later", delay=3600, session=session)
        live.emit("order.placed", id="now", session=session)
    relay.drain()
    event_log = live.service.backend.event_log
    assert published(live) == ["now"]
    ((time_ms, body),) = event_log.upcoming("order")
    assert abs(time_ms / 1000 - time.time() - 3600) < 60
    assert b"later" in body


def test_a_delayed_row_that_redis_refuses_is_failed_alone(
    live: EventBus, engine: Engine, relay: Relay, database: Database, settings: Settings
) -> None:
    client = redis.Redis.from_url(settings.redis_url)
    client.set(f"{settings.namespace}:{{stock}}:delayed", "no sorted set")
    with Session(engine) as session, session.begin():
        live.emit("stock.low", id="refused", delay=3600, session=session)
        live.emit("order.placed", id="later", delay=3600, session=session)
    relay.drain()
    [row] = state.failed(database)
    assert (row.event_id, "WRONGTYPE" in row.error) == ("refused", True)
    assert len(live.service.backend.event_log.upcoming("order")) == 1


def test_batches_are_bounded_in_number_and_in_bytes(
    live: EventBus, engine: Engine, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "MAX_ROWS", 3)
    monkeypatch.setattr(relay_module, "MAX_BYTES", 5000)
    sizes = [10, 10, 10, 10, 6000, 10, 3000, 3000]
    with Session(engine) as session, session.begin():
        for n, size in enumerate(sizes):
            live.emit("order.placed", "x" * size, id=f"{n}", session=session)
    counts = []
    while True:
        result = relay.run_pass()
        counts.append(result.published)
        if not result.more:
            break
    assert counts == [3, 1, 1, 2, 1]
    assert published(live) == [f"{n}" for n in range(8)]


def test_rows_that_are_committed_after_the_sizes_were_read_wait_for_the_next_turn(
    live: EventBus, engine: Engine, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have earlier ids and any size."""
    with Session(engine) as session, session.begin():
        for id in ("a", "b", "c"):
            live.emit("order.placed", id=id, session=session)
    with engine.begin() as connection:
        connection.execute(text("UPDATE celeriac_outbox SET failed_ms = 1 WHERE event_id = 'a'"))

    as_leader = relay.database.as_leader

    @contextmanager
    def committing() -> Iterator[Execute]:
        with as_leader() as execute:
            assert execute is not None

            def watched(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
                found = execute(sql, parameters)
                if "LENGTH(body)" in sql:
                    execute("UPDATE celeriac_outbox SET failed_ms = NULL", {})
                return found

            yield watched

    monkeypatch.setattr(relay.database, "as_leader", committing)
    assert 2 == relay.run_pass().published
    assert published(live) == ["b", "c"]


@pytest.mark.parametrize("events", [1, 2, 64])
def test_the_limit_of_the_relay_is_of_the_event_before_it_was_signed(
    live: EventBus, engine: Engine, database: Database, settings: Settings, events: int
) -> None:
    private, _ = generate("orders-1")
    options: dict[str, Any] = {
        "redis_url": settings.redis_url,
        "namespace": settings.namespace,
    }
    signing = EventBus(service="orders", signing_key=json.dumps(private), **options)
    largest = len(signing.emitter.encode_unsigned(signing.event("order.placed", "x" * 5000)))
    relay = Relay(
        database,
        Settings.load({}, max_event_bytes=largest, **options),
        live.service.backend.event_log,
    )
    with Session(engine) as session, session.begin():
        signing.emit_many([("order.placed", "x" * 5000)] * events, session=session)
    assert events == relay.drain()
    with Session(engine) as session, session.begin():
        signing.emit_many([("order.placed", "x" * 5001)] * events, session=session)
    assert 0 == relay.drain()
    assert events == state.status(database).failed


def test_what_can_never_be_published_fails_and_delays_no_other_row(
    live: EventBus, engine: Engine, database: Database, settings: Settings
) -> None:
    with Session(engine) as session, session.begin():
        live.emit("order.placed", id="a", session=session)
        live.emit("order.placed", "x" * 5000, id="large", session=session)
        live.emit("order.placed", id="broken", session=session)
        live.emit("stock.low", id="taken", session=session)
        live.emit("order.placed", id="b", session=session)
        session.execute(text("UPDATE celeriac_outbox SET body = :b WHERE event_id = 'broken'"),
                        {"b": b"no event"})  # fmt: skip
    client = redis.Redis.from_url(settings.redis_url)
    client.set(f"{settings.namespace}:{{stock}}:events", "no stream")
    strict = Settings.load(
        {}, redis_url=settings.redis_url, namespace=settings.namespace, max_event_bytes=2000
    )
    relay = Relay(database, strict, live.service.backend.event_log)
    assert relay.drain() == 2
    # Rows after the refused one in the same pipeline were appended, and are appended again.
    assert list(dict.fromkeys(published(live))) == ["a", "b"]
    assert left(engine) == ["large", "broken", "taken"]
    found = state.status(database)
    assert (found.waiting, found.oldest_s, found.failed) == (0, None, 3)
    errors = [(row.event_id, row.error) for row in state.failed(database)]
    assert [(id, error.split(":")[0]) for id, error in errors] == [
        ("large", "EventTooLarge"), ("broken", "InvalidEvent"), ("taken", "BusUnavailable")
    ]  # fmt: skip
    assert "MAX_EVENT_BYTES" in errors[0][1]
    assert "WRONGTYPE" in errors[2][1]

    client.delete(f"{settings.namespace}:{{stock}}:events")
    rows = {row.event_id: row.row for row in state.failed(database)}
    state.retry(database, [rows["taken"]])
    state.discard(database, [rows["broken"]])
    assert relay.drain() == 1
    assert published(live, "stock") == ["taken"]
    state.retry(database)
    assert Relay(database, live.settings, live.service.backend.event_log).drain() == 1
    assert left(engine) == []
    assert list(dict.fromkeys(published(live))) == ["a", "b", "large"]


def test_a_full_log_holds_up_its_own_domain_alone(
    live: EventBus, engine: Engine, database: Database, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Rows of a full domain stay, in any number, and are published when it has free space."""
    monkeypatch.setattr(relay_module, "MAX_ROWS", 10)
    bounded = Settings.load(
        {}, redis_url=settings.redis_url, namespace=settings.namespace, max_backlog=4
    )
    relay = Relay(database, bounded)
    live.service.backend.event_log.join("order", "billing.slow", "0")
    emit(live, engine, *(f"order-{n}" for n in range(25)))
    emit(live, engine, "low", type="stock.low")
    started = time.monotonic()
    while not published(live, "stock"):
        result = relay.run_pass()
        assert result.failure is None
        assert time.monotonic() - started < 10
    waiting = len(left(engine))
    assert waiting >= 20
    assert published(live) == [f"order-{n}" for n in range(25 - waiting)]
    live.service.backend.event_log.leave("order", "billing.slow")
    until(lambda: relay.run_pass().more is False and not left(engine))
    assert published(live) == [f"order-{n}" for n in range(25)]


def test_a_row_of_another_domain_than_its_event_is_failed(
    live: EventBus, engine: Engine, relay: Relay, database: Database
) -> None:
    """The event would be appended to the domain of another service."""
    emit(live, engine, "a")
    with engine.begin() as connection:
        connection.execute(text("UPDATE celeriac_outbox SET domain = 'stock'"))
    relay.drain()
    assert "has the domain order, but its row has stock" in state.failed(database)[0].error
    assert published(live, "stock") == []


def test_rows_stay_while_redis_is_away(engine: Engine, database: Database, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with start_server(tmp_path / "data") as server:
        bus = EventBus(service="billing", redis_url=server.url, emit_timeout=0.5)
        relay = Relay(database, bus.settings, bus.service.backend.event_log)
        emit(bus, engine, "a")
        relay.drain()
        server.stop()
        emit(bus, engine, "b", "c")
        with pytest.raises(BusUnavailable):
            relay.drain()
        assert left(engine) == ["b", "c"]
        server.start()
        relay.drain()
        assert published(bus) == ["a", "b", "c"]
        assert left(engine) == []


def test_two_relays_never_publish_at_once(
    live: EventBus, engine: Engine, database_url: str, database: Database
) -> None:
    """While one relay is the leader, the other waits; after its end, the other takes over."""
    other = open_database(database_url)
    relay = Relay(other, live.settings, live.service.backend.event_log)
    emit(live, engine, "a")
    with database.as_leader() as execute:
        assert execute is not None
        result = relay.run_pass()
        assert (result.active, result.published) == (False, 0)
    assert relay.run_pass().published == 1
    other.close()


def test_the_next_pass_is_led_before_the_server_notices_that_a_connection_ended(
    live: EventBus, engine: Engine, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB releases the locks of a connection some time after the client closed it."""
    kept = []

    def close() -> None:
        kept.append(relay.database._connection)  # type: ignore[attr-defined]
        relay.database._connection = None  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(relay.database, "close", close)
        for n in range(5):
            emit(live, engine, f"{n}")
            result = relay.run_pass()
            assert (True, 1) == (result.active, result.published)
    for connection in kept:
        if connection is not None:
            connection.close()


def test_signed_rows_are_registered_if_their_ids_cannot_be_guessed(
    live: EventBus, engine: Engine, relay: Relay
) -> None:
    private, _ = generate("shop-1", sources=["shop"])
    bus = EventBus(
        service="shop", redis_url=live.settings.redis_url, signing_key=json.dumps(private)
    )
    with engine.begin() as connection:
        bus.emit("order.placed", session=connection)
        bus.emit("order.placed", id="order-42", session=connection)
        bus.emit("order.placed", delay=3600, session=connection)
    assert relay.drain() == 3
    event_log: Any = live.service.backend.event_log
    assert [EntryKind.GIVEN, EntryKind.FOREIGN] == [entry.kind for entry in event_log.read("order")]
    # Delayed events can be read before their time.
    [token] = event_log.client.zrange(event_log.keys.delayed("order"), 0, -1)
    assert not is_registering(token.decode())


def test_what_a_relay_that_died_had_published_is_not_published_again(
    live: EventBus, engine: Engine, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit(live, engine, "a", "b")

    class Died(BaseException): ...

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(relay_module, "_complete_rows", die)
        with pytest.raises(Died):
            relay.run_pass()
    assert left(engine) == ["a", "b"]
    assert relay.drain() == 2
    assert left(engine) == []
    assert published(live) == ["a", "b"]
    assert left(engine) == []


def test_a_running_relay_is_woken_by_a_commit(
    live: EventBus, engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL the relay polls only after a minute, but a notification wakes it at once."""
    monkeypatch.setattr(leader_lock, "POLL_WOKEN", 60.0)
    relay = Relay(database, live.settings, live.service.backend.event_log)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        for n in range(5):
            emit(live, engine, f"{n}")
            until(lambda n=n: published(live)[-1:] == [f"{n}"])
    finally:
        relay.stop()
        emit(live, engine, "wakes it to stop")
        thread.join(20)
    assert not thread.is_alive()


def cut_all_others(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ))  # fmt: skip
            return
        others = text(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for id in connection.execute(others).scalars():
            # The process may have ended already.
            with suppress(DBAPIError):
                connection.execute(text(f"KILL {id}"))


def test_a_running_relay_outlives_its_database_connection(
    live: EventBus, engine: Engine, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no connections that others can cut")
    relay = Relay(database, live.settings, live.service.backend.event_log)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        for n in range(3):
            emit(live, engine, f"{n}")
            until(lambda n=n: published(live)[-1:] == [f"{n}"])
            cut_all_others(engine)
        # The last cut may come between a publication and the deletion of its row.
        until(lambda: left(engine) == [])
    finally:
        relay.stop()
        thread.join(10)
    assert not thread.is_alive()


def test_a_table_that_comes_later_is_waited_for(live: EventBus, database_url: str) -> None:
    database = open_database(database_url)
    relay = Relay(database, live.settings, live.service.backend.event_log)
    with pytest.raises(ConfigurationError, match="create_outbox"):
        relay.run_pass()
    database.close()


def test_pauses_grow_in_an_outage_and_end_with_it(
    live: EventBus, engine: Engine, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to MAX_PAUSE, to limit the load on a database or Redis that recovers."""
    emit(live, engine, "a")
    away = redis.ConnectionError("away")

    def refuse(items: object) -> None:
        raise away

    waited: list[float] = []
    monkeypatch.setattr(relay._publisher._event_log, "append_many", refuse)
    for _ in range(8):
        relay._run_pass_safely()
        waited.append(relay._pause)
    doubled = [relay_module.MIN_PAUSE * 2**n for n in range(8)]
    assert [min(relay_module.MAX_PAUSE, pause) for pause in doubled] == waited
    monkeypatch.undo()
    relay._run_pass_safely()
    assert (0.0, ["a"]) == (relay._pause, published(live))


def test_a_failure_is_logged_once_until_it_changes_or_ends(
    live: EventBus,
    engine: Engine,
    relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", relay_module.__name__)
    emit(live, engine, "a")
    failures = ["away", "away", "gone", "gone"]

    def refuse(items: object) -> None:
        raise redis.ConnectionError(failures.pop(0))

    monkeypatch.setattr(relay._publisher._event_log, "append_many", refuse)
    for _ in range(4):
        relay._run_pass_safely()
    monkeypatch.undo()
    relay._run_pass_safely()
    relay._run_pass_safely()
    messages = messages_of(caplog, relay_module)
    assert ["cannot publish", "cannot publish", "publishes again"] == [
        "publishes again" if "publishes again" in message else "cannot publish"
        for message in messages
        if "publish" in message
    ]
    assert "away" in messages[0]
    assert "gone" in messages[1]


def test_an_error_of_the_database_is_logged_and_lengthens_the_pause(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("no such host\nSELECT 1")

    monkeypatch.setattr(relay, "run_pass", fail)
    assert not relay._run_pass_safely()
    assert relay_module.MIN_PAUSE == relay._pause
    assert ["OSError: no such host"] == [
        message.partition("cannot publish: ")[2] for message in messages_of(caplog, relay_module)
    ]
