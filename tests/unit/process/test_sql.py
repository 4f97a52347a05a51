"""Processes in databases: concurrent transactions, coroutines, missing tables."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import NullPool

from celeriac import Event, EventBus
from celeriac.event import RawEvent, build_event, decode, encode
from celeriac.handler import Handler
from celeriac.outbox.database import Database, open_database
from celeriac.process import Process, Status, sql_store, starts
from celeriac.process.query import counts, has_processes, history, instances
from celeriac.testing import in_memory
from tests.unit.process.conftest import bench_on, table
from tests.unit.process.shop import State, fulfilment

KEY = "order-42"


@pytest.fixture
def database(engine: Engine, database_url: str) -> Database:
    return open_database(database_url)


def handler_of(bus: EventBus, process: type[Process[State]]) -> Handler:
    bus.process(process)
    [handler] = bus.service.handlers.values()
    return handler


def raw(type: str, id: str, data: object = None, subject: str = KEY) -> RawEvent:
    return decode(encode(build_event(type, data, source="shop", id=id, subject=subject)))


def test_concurrent_events_start_one_instance_and_lose_no_change(
    bus: EventBus, engine: Engine, database: Database
) -> None:
    class Counting(Process[State], inbox=sessionmaker(engine)):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            self.state.cents += 1
            self.emit("order.counted", {"n": self.state.cents})

    handler = handler_of(bus, Counting)
    errors: list[BaseException] = []

    def run(worker: int) -> None:
        for number in range(10):
            event = raw("order.placed", f"{worker}-{number}")
            try:
                assert handler.receiver is not None
                handler.receiver(event)
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = history(database, handler.id, KEY)
    assert found is not None
    assert b'"cents":40' in found.instance.state
    assert [step.seq for step in found.steps] == list(range(1, 41))
    bodies = [decode(bytes(body)).data for (body,) in table(engine, "body", "celeriac_outbox")]
    assert Counter(bytes(body or b"") for body in bodies) == {
        f'{{"n":{n}}}'.encode(): 1 for n in range(1, 41)
    }


def test_state_timers_events_and_the_note_are_one_transaction(
    bus: EventBus, engine: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction ends at each of its statements in turn, as if the process were killed."""

    class Killed(BaseException):
        pass

    handler = handler_of(bus, fulfilment(engine))
    assert handler.receiver is not None
    execute, left = sql_store._execute, 0

    def dying(*arguments: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return execute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sql_store, "_execute", dying)
    event = raw("order.placed", "e", {"cents": 9})
    tables = ("celeriac_process", "celeriac_timer", "celeriac_process_step", "celeriac_outbox",
              "celeriac_inbox")  # fmt: skip
    survived = 0
    for survived in range(20):
        left = survived
        try:
            handler.receiver(event)
        except Killed:
            assert all(table(engine, "COUNT(*)", name) == [(0,)] for name in tables)
            continue
        break
    assert survived == 5
    assert all(table(engine, "COUNT(*)", name) == [(1,)] for name in tables)


def test_an_instance_that_is_deleted_while_its_key_starts_again_is_replaced(
    bus: EventBus, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("the row is locked from the first statement on")
    handler = handler_of(bus, fulfilment(engine))
    assert handler.receiver is not None
    for type in ("order.placed", "payment.failed"):
        handler.receiver(raw(type, type, {"cents": 9}))
    execute, deleted = sql_store._execute, False

    def deleting(session: Any, sql: str, parameters: Any) -> Any:
        nonlocal deleted
        rows = execute(session, sql, parameters)
        if not deleted and sql.startswith("INSERT INTO celeriac_process "):
            deleted = True
            with engine.begin() as relay:
                for name in ("celeriac_process_step", "celeriac_process"):
                    relay.execute(text(f"DELETE FROM {name}"))
        return rows

    monkeypatch.setattr(sql_store, "_execute", deleting)
    handler.receiver(raw("order.placed", "again", {"cents": 9}))
    assert table(engine, "status, seq", "celeriac_process") == [("open", 1)]


@pytest.mark.parametrize("kind", ["engine", "session"])
def test_a_process_in_coroutines(
    bus: EventBus, engine: Engine, database_url: str, async_database_url: str, kind: str
) -> None:
    asynchronous: AsyncEngine = create_async_engine(async_database_url, poolclass=NullPool)
    inbox = asynchronous if kind == "engine" else async_sessionmaker(asynchronous)
    process = bus.process(fulfilment(inbox))
    with bench_on(bus, open_database(database_url)) as bench:
        bus.emit("order.placed", {"cents": 5}, subject=KEY)
        bench.memory.crash_before_ack()
        bench.run(jump=False)
        bench.memory.advance(100_000)
        bench.run()
        bench.memory.assert_no_dead()
        found = bench.history(process, KEY)
    assert found is not None
    assert (found.instance.status, len(found.steps)) == (Status.ABORTED, 2)


def test_missing_tables_are_named_with_the_remedy(bus: EventBus, database_url: str) -> None:
    from celeriac.inbox import create_inbox

    engine = create_engine(database_url, poolclass=NullPool)
    create_inbox(engine)
    bus.process(fulfilment(engine), retries=0)
    assert not has_processes(open_database(database_url))
    with in_memory(bus, databases=True) as memory:
        bus.emit("order.placed", {"cents": 5}, subject=KEY)
        memory.run_until_idle()
        [dead] = memory.dead
    assert "the table celeriac_process is missing. Create it: call celeriac.process." in dead.error


def test_instances_are_listed_and_counted(
    bus: EventBus, engine: Engine, database: Database
) -> None:
    bus.process(fulfilment(engine))
    with bench_on(bus, open_database(str(database.url))) as bench:  # type: ignore[attr-defined]
        for number in range(3):
            bus.emit("order.placed", {"cents": number}, subject=f"order-{number}")
            bench.run(jump=False)
            bench.memory.advance(1)
        bus.emit("payment.failed", subject="order-1")
        bench.run(jump=False)
        now = bench.memory.store.clock.now_ms()
    assert [row.key for row in instances(database)] == ["order-0", "order-2"]
    assert [row.key for row in instances(database, status=None, limit=2)] == ["order-0", "order-1"]
    [aborted] = instances(database, status=Status.ABORTED)
    assert (aborted.key, aborted.reason, aborted.steps) == ("order-1", "payment.failed", 2)
    assert instances(database)[0].timers == ("unpaid",)
    assert instances(database, handler="billing.other") == []
    assert [row.key for row in instances(database, started_before_ms=now - 1500)] == ["order-0"]
    counted = [(row.handler, row.status, row.number) for row in counts(database)]
    assert counted == [
        ("billing.fulfilment", Status.ABORTED, 1), ("billing.fulfilment", Status.OPEN, 2),
    ]  # fmt: skip
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM celeriac_process"))
    assert history(database, "billing.fulfilment", "order-0") is None
