"""Effects through SQLAlchemy happen once, despite repeated deliveries, failures and crashes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from celeriac import ConfigurationError, Event, EventBus, Retry, SubscriptionError
from celeriac.event import build_event, event_key
from celeriac.inbox import IdempotentReceiver, as_inbox, current_session
from celeriac.inbox import statement as sql_statement
from celeriac.testing import in_memory
from tests.unit.inbox.conftest import effects, noted

EFFECT = text("INSERT INTO effect VALUES (:id)")


def event(id: str) -> Event:
    return build_event("order.placed", None, source="t", id=id)


def test_a_repeated_delivery_is_processed_without_a_run(bus: EventBus, engine: Engine) -> None:
    @bus.on("order.placed", inbox=sessionmaker(engine))
    def charge(event: Event, session: Session) -> None:
        assert current_session() is session
        session.execute(EFFECT, {"id": event.id})

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.crash_before_ack()
        settlement = memory.run_until_idle()
        assert (settlement.crashed, settlement.processed) == (1, 1)
        memory.redeliver_all()
        assert memory.run_until_idle().processed == 1
    assert effects(engine) == {"a": 1}
    assert noted(engine) == [("a", "billing.charge", "order")]


def test_one_id_of_two_sources_takes_effect_once_for_each(bus: EventBus, engine: Engine) -> None:
    @bus.on("order.placed", inbox=engine)
    def charge(event: Event, connection: Connection) -> None:
        connection.execute(EFFECT, {"id": event.source})

    with in_memory(bus) as memory:
        for source in ("shop", "rival", "shop"):
            bus.emit("order.placed", id="a", source=source)
        memory.crash_before_ack()
        memory.run_until_idle()
        memory.redeliver_all()
        memory.run_until_idle()
    assert effects(engine) == {"shop": 1, "rival": 1}
    assert noted(engine) == [("a", "billing.charge", "order")] * 2


def test_the_same_id_is_one_event_for_each_handler_and_domain(
    bus: EventBus, engine: Engine
) -> None:
    @bus.on("#", inbox=engine)
    def charge(event: Event, connection: Connection) -> None:
        connection.execute(EFFECT, {"id": f"{event.type} charged"})

    @bus.on("order.placed", inbox=engine)
    def post(event: Event) -> None:
        current_session().execute(EFFECT, {"id": f"{event.type} posted"})

    with in_memory(bus) as memory:
        for type in ("order.placed", "order.amended", "stock.low"):
            bus.emit(type, id="same")
        memory.run_until_idle()
        memory.assert_no_dead()
    assert effects(engine) == {
        "order.placed charged": 1, "stock.low charged": 1, "order.placed posted": 1
    }  # fmt: skip


def test_a_handler_that_raises_leaves_neither_effect_nor_note(
    bus: EventBus, engine: Engine
) -> None:
    runs: list[str] = []

    @bus.on("order.placed", inbox=sessionmaker(engine), retries=2, backoff=0.1)
    def charge(event: Event, session: Session) -> None:
        session.execute(EFFECT, {"id": event.id})
        runs.append(event.id)
        if len(runs) == 1:
            raise Retry(after=1)
        if len(runs) == 2:
            raise ConnectionError

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.run_until_idle(jump=False)
        assert (effects(engine), noted(engine)) == ({}, [])
        memory.run_until_idle()
    assert runs == ["a", "a", "a"]
    assert effects(engine) == {"a": 1}


def test_a_batch_is_one_transaction(bus: EventBus, engine: Engine) -> None:
    calls: list[list[str]] = []

    @bus.on("order.placed", inbox=sessionmaker(engine), batch=10, retries=3, backoff=0.1)
    def store(events: list[Event], session: Session) -> None:
        calls.append([event.id for event in events])
        session.execute(EFFECT, [{"id": event.id} for event in events])
        if "bad" in calls[-1]:
            raise ValueError

    with in_memory(bus) as memory:
        for id in ("a", "bad", "b"):
            bus.emit("order.placed", id=id)
        memory.run_until_idle(shuffle=1)
        assert [letter.event and letter.event.id for letter in memory.dead] == ["bad"]
        memory.redeliver_all()
        memory.run_until_idle(shuffle=2)
    assert effects(engine) == {"a": 1, "b": 1}


def test_a_large_batch_is_noted_in_several_statements(engine: Engine) -> None:
    seen: list[int] = []

    def store(events: list[Event]) -> None:
        seen.append(len(events))

    receiver = IdempotentReceiver("b.store", store, False, as_inbox(engine), keep_ms=lambda: 60_000)
    batch = [event(f"{n}") for n in range(2 * sql_statement.MAX_ROWS + 1)]
    receiver(batch[:700])
    receiver(batch)
    receiver(batch)
    assert seen == [700, len(batch) - 700]


def test_a_second_run_waits_for_the_first_and_does_nothing(engine: Engine) -> None:
    """As after an expired lease: both run, but the effect happens once."""
    began, go_on = threading.Event(), threading.Event()
    runs: list[str] = []

    def charge(event: Event, connection: Connection) -> None:
        runs.append(event.id)
        connection.execute(EFFECT, {"id": event.id})
        began.set()
        assert go_on.wait(20)

    inbox = as_inbox(engine)
    receiver = IdempotentReceiver("b.charge", charge, True, inbox, keep_ms=lambda: 60_000)
    first = threading.Thread(target=receiver, args=(event("a"),))
    second = threading.Thread(target=receiver, args=(event("a"),))
    first.start()
    assert began.wait(20)
    second.start()
    time.sleep(0.3)
    assert second.is_alive()
    go_on.set()
    first.join(20)
    second.join(20)
    assert runs == ["a"]
    assert effects(engine) == {"a": 1}


def test_a_second_run_takes_over_where_the_first_rolls_back(engine: Engine) -> None:
    began, go_on = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def charge(event: Event, connection: Connection) -> None:
        connection.execute(EFFECT, {"id": event.id})
        if not began.is_set():
            began.set()
            assert go_on.wait(20)
            raise ValueError

    receiver = IdempotentReceiver(
        "b.charge", charge, True, as_inbox(engine), keep_ms=lambda: 60_000
    )

    def run() -> None:
        try:
            receiver(event("a"))
        except ValueError as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert began.wait(20)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(failed) == 1
    assert effects(engine) == {"a": 1}


def test_ids_are_compared_byte_by_byte(engine: Engine) -> None:
    """MySQL's default collations ignore case, accents and trailing spaces."""
    ids = ["id", "ID", "íd", "id ", "id  ", "🐘", "🐘" * 255]
    runs: list[str] = []
    receiver = IdempotentReceiver(
        "b.charge",
        lambda event: runs.append(event.id),
        False,
        as_inbox(engine),
        keep_ms=lambda: 50_000,
    )
    for id in (*ids, *ids):
        receiver(event(id))
    assert runs == ids


def test_old_rows_go_in_bounded_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_statement, "PRUNE_ROWS", 10)
    monkeypatch.setattr(sql_statement, "PRUNE_AGAIN", 0.0)
    now = int(time.time() * 1000)
    old = [
        {
            "id": event_key(f"old{n}", ""),
            "at": now - 100_000 + n,
            "handler": "b.charge",
            "domain": "order",
        }
        for n in range(25)
    ]
    row = text(
        "INSERT INTO celeriac_inbox (event_key, handler, domain, at_ms) "
        "VALUES (:id, :handler, :domain, :at)"
    )
    with engine.begin() as connection:
        connection.execute(row, [*old, {**old[0], "id": event_key("young", ""), "at": now}])
    receiver = IdempotentReceiver(
        "b.charge", lambda event: None, False, as_inbox(engine), keep_ms=lambda: 50_000
    )
    left = []
    for n in range(4):
        receiver(event(f"new{n}"))
        left.append(sum(id.startswith("old") for id, _, _ in noted(engine)))
    assert left == [14, 3, 0, 0]
    assert [id for id, _, _ in noted(engine)] == ["new0", "new1", "new2", "new3", "young"]


def test_what_cannot_be_pruned_harms_no_delivery(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sql_statement, "PRUNE", "DELETE FROM nowhere WHERE at_ms <= :up_to")
    receiver = IdempotentReceiver(
        "b.charge", lambda event: None, False, as_inbox(engine), keep_ms=lambda: 50_000
    )
    receiver(event("a"))
    assert [id for id, _, _ in noted(engine)] == ["a"]
    assert "were not deleted" in caplog.text


def test_a_missing_table_is_an_error_with_the_remedy(database_url: str) -> None:
    engine = create_engine(database_url, poolclass=NullPool)
    receiver = IdempotentReceiver(
        "b.charge", lambda event: None, False, as_inbox(engine), keep_ms=lambda: 50_000
    )
    with pytest.raises(ConfigurationError, match="create_inbox"):
        receiver(event("a"))


def test_another_fault_of_the_database_is_raised_unchanged(engine: Engine) -> None:
    def charge(event: Event, connection: Connection) -> None:
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    receiver = IdempotentReceiver(
        "b.charge", charge, True, as_inbox(engine), keep_ms=lambda: 50_000
    )
    with pytest.raises(DBAPIError, match="nowhere"):
        receiver(event("a"))
    assert noted(engine) == []


def test_an_error_of_the_function_that_names_the_table_stays_the_functions(
    engine: Engine,
) -> None:
    def charge(event: Event) -> None:
        raise ValueError("celeriac_inbox does not exist")

    receiver = IdempotentReceiver(
        "b.charge", charge, False, as_inbox(engine), keep_ms=lambda: 50_000
    )
    with pytest.raises(ValueError, match="does not exist"):
        receiver(event("a"))


@pytest.mark.parametrize("given", ["default", object(), lambda: None, Session])
def test_what_opens_no_transaction_is_refused_with_the_remedy(bus: EventBus, given: Any) -> None:
    with pytest.raises(SubscriptionError, match=r"billing\.h: inbox=.*sessionmaker"):

        @bus.on("order.placed", inbox=given)
        def h(event: Event) -> None: ...


def test_a_coroutine_needs_an_asynchronous_factory(bus: EventBus) -> None:
    engine = create_engine("sqlite://")
    with pytest.raises(SubscriptionError, match="async_sessionmaker"):

        @bus.on("order.placed", inbox=engine)
        async def h(event: Event) -> None: ...


def test_a_second_parameter_needs_an_inbox_and_no_default(bus: EventBus) -> None:
    engine = create_engine("sqlite://")
    with pytest.raises(SubscriptionError, match="called with one argument"):

        @bus.on("order.placed")
        def without(event: Event, session: Session) -> None: ...

    with pytest.raises(SubscriptionError, match="the session of its inbox"):

        @bus.on("order.placed", inbox=engine)
        def three(event: Event, session: Session, more: int) -> None: ...

    @bus.on("order.placed", inbox=engine)
    def defaulted(event: Event, dry_run: bool = False) -> None: ...

    receiver = bus.service.handlers["billing.defaulted"].receiver
    assert receiver is not None
    assert not receiver.takes_session


def test_there_is_no_current_session_elsewhere() -> None:
    with pytest.raises(RuntimeError, match="inbox="):
        current_session()
