"""emit with a session: the event is only in the caller's transaction."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, inspect, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from celeriac import ConfigurationError, EventBus, EventTooLarge, InvalidEvent
from celeriac.event import decode, masked
from celeriac.inbox import inbox_table
from celeriac.outbox import create_outbox, outbox_table
from celeriac.outbox.relay import Relay
from celeriac.security.generate import generate
from celeriac.testing import capture
from tests.unit.outbox.conftest import left, published


@pytest.fixture
def unreachable() -> EventBus:
    """A bus without a reachable Redis: an emit to it would raise."""
    return EventBus(service="billing", redis_url="redis://127.0.0.1:1/0", emit_timeout=0.05)


def test_a_committed_event_is_in_the_outbox_without_a_word_to_redis(
    unreachable: EventBus, engine: Engine
) -> None:
    with Session(engine) as session, session.begin():
        id = unreachable.emit("order.placed", {"n": 1}, subject="order/1", session=session)
    assert left(engine) == [id]
    with engine.begin() as connection:
        row = connection.execute(text("SELECT domain, body, at_ms FROM celeriac_outbox")).one()
    event = decode(bytes(row.body))
    assert (row.domain, row.at_ms) == ("order", None)
    assert (event.id, event.subject, event.source) == (id, "order/1", "billing")


def test_the_row_has_the_tenant_and_the_limit_applies(engine: Engine) -> None:
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0", tenants="acme,globex")
    with Session(engine) as session, session.begin():
        bus.emit("order.placed", tenant="acme", session=session)
        with pytest.raises(InvalidEvent, match="`tenant` 'initech'"):
            bus.emit("order.placed", tenant="initech", session=session)
    with engine.begin() as connection:
        [body] = connection.execute(text("SELECT body FROM celeriac_outbox")).scalars()
    assert decode(bytes(body)).tenant == "acme"


def test_encrypted_data_is_encrypted_in_the_outbox(engine: Engine) -> None:
    _, public = generate("billing", encryption=True)
    bus = EventBus(service="orders", trusted_keys=json.dumps(public))
    bus.declare("order.paid", dict, encrypt_for=["billing"])
    with Session(engine) as session, session.begin():
        bus.emit("order.placed", {"n": "secret"}, encrypt_for=["billing"], session=session)
        bus.emit("order.paid", {"n": "secret"}, session=session)
        bus.emit_many([("order.paid", {"n": "secret"})], session=session)
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT body FROM celeriac_outbox")).all()
    assert [masked(decode(bytes(row.body))) for row in rows] == ["encrypted for billing"] * 3
    assert not any(b"secret" in bytes(row.body) for row in rows)


def test_a_rolled_back_event_never_was(unreachable: EventBus, engine: Engine) -> None:
    class Stop(Exception): ...

    with pytest.raises(Stop), Session(engine) as session, session.begin():
        unreachable.emit("order.placed", session=session)
        raise Stop
    with Session(engine) as session:
        unreachable.emit("order.placed", session=session)
    assert left(engine) == []


def test_a_savepoint_that_is_rolled_back_takes_its_events_along(
    unreachable: EventBus, engine: Engine
) -> None:
    with Session(engine) as session, session.begin():
        # The driver for SQLite begins no transaction for a savepoint alone.
        session.execute(text("INSERT INTO purchase VALUES (1)"))
        unreachable.emit("order.placed", id="a", session=session)
        with session.begin_nested() as inner:
            unreachable.emit("order.placed", id="b", session=session)
            inner.rollback()
        unreachable.emit("order.placed", id="c", session=session)
    assert left(engine) == ["a", "c"]


def test_many_events_keep_their_order(unreachable: EventBus, engine: Engine) -> None:
    with engine.begin() as connection:
        many = (("order.placed", {"n": n}) for n in range(1203))
        assert unreachable.emit_many(many, session=connection) == 1203
    with engine.begin() as connection:
        bodies = connection.execute(text("SELECT body FROM celeriac_outbox ORDER BY id")).scalars()
        assert [b'"n":%d}' % n in bytes(body) for n, body in enumerate(bodies)] == [True] * 1203


def test_a_delay_is_kept_as_a_time(unreachable: EventBus, engine: Engine) -> None:
    before = datetime.now(UTC).timestamp() * 1000
    with Session(engine) as session, session.begin():
        unreachable.emit("order.placed", delay=60, session=session)
        unreachable.emit("order.placed", at=datetime(2030, 1, 1, tzinfo=UTC), session=session)
    with engine.begin() as connection:
        sql = text("SELECT at_ms FROM celeriac_outbox ORDER BY id")
        delayed, fixed = connection.execute(sql).scalars()
    assert before + 60_000 <= delayed + 1 < before + 90_000
    assert fixed == int(datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000)


def test_an_invalid_event_raises_as_ever_and_writes_nothing(
    unreachable: EventBus, engine: Engine
) -> None:
    with Session(engine) as session, session.begin():
        with pytest.raises(InvalidEvent):
            unreachable.emit("no type", session=session)
        with pytest.raises(EventTooLarge):
            unreachable.emit("order.placed", "x" * 2_000_000, session=session)
        with pytest.raises(InvalidEvent, match="delay"):
            unreachable.emit("order.placed", delay=-1, session=session)
    assert left(engine) == []


def test_coroutines_write_through_an_async_session(
    unreachable: EventBus, engine: Engine, async_database_url: str
) -> None:
    sessions = async_sessionmaker(create_async_engine(async_database_url, poolclass=NullPool))

    async def main() -> None:
        async with sessions.begin() as session:
            assert await unreachable.aemit("order.placed", id="a", session=session) == "a"
            more = [unreachable.event("order.placed", id=id) for id in "bc"]
            assert await unreachable.aemit_many(more, session=session) == 2
            await unreachable.aemit("order.placed", id="d", delay=1, session=session)
        async with sessions() as session:
            await unreachable.aemit("order.placed", id="lost", session=session)

    asyncio.run(main())
    assert left(engine) == ["a", "b", "c", "d"]


def test_a_scoped_session_is_the_session_of_its_scope(
    unreachable: EventBus, engine: Engine
) -> None:
    """As Flask-SQLAlchemy's `db.session`."""
    scoped = scoped_session(sessionmaker(engine))
    unreachable.emit("order.placed", id="a", session=scoped)
    scoped.commit()
    unreachable.emit("order.placed", id="b", session=scoped)
    scoped.remove()
    assert left(engine) == ["a"]


def test_a_session_of_the_wrong_kind_is_refused_with_the_right_call(
    unreachable: EventBus, engine: Engine
) -> None:
    wrong: Any = AsyncSession()
    with pytest.raises(InvalidEvent, match=r"await bus\.aemit"):
        unreachable.emit("order.placed", session=wrong)
    for nonsense in (engine, sessionmaker(engine), "default"):
        wrong = nonsense
        with pytest.raises(InvalidEvent, match="must be a Session or Connection"):
            unreachable.emit("order.placed", session=wrong)

    async def main() -> None:
        wrong: Any = Session(engine)
        with pytest.raises(InvalidEvent, match=r"bus\.emit"):
            await unreachable.aemit("order.placed", session=wrong)

    asyncio.run(main())


def test_using_needs_django(unreachable: EventBus) -> None:
    with pytest.raises(ConfigurationError, match=r"celeriac\.contrib\.django"):
        unreachable.emit("order.placed", using="default")


def test_a_missing_table_is_an_error_with_the_remedy(
    unreachable: EventBus, database_url: str
) -> None:
    engine = create_engine(database_url, poolclass=NullPool)
    with Session(engine) as session, pytest.raises(ConfigurationError, match="create_outbox"):
        unreachable.emit("order.placed", session=session)


def test_a_test_on_a_bus_in_memory_needs_no_relay(unreachable: EventBus) -> None:
    """No table is needed either: the event is captured at once."""
    with capture() as events, Session(create_engine("sqlite://")) as session:
        unreachable.emit("order.placed", {"n": 1}, session=session)
        unreachable.emit_many([("order.placed", {"n": 2})], session=session)
    assert [event.data["n"] for event in events] == [1, 2]


def test_the_table_goes_into_the_users_metadata_once(database_url: str) -> None:
    metadata = MetaData(schema=None)
    assert outbox_table(metadata) is outbox_table(metadata)
    assert inbox_table(metadata) is inbox_table(metadata)
    engine = create_engine(database_url, poolclass=NullPool)
    metadata.create_all(engine)
    create_outbox(engine)
    assert {"celeriac_inbox", "celeriac_outbox"} == set(inspect(engine).get_table_names())


def test_a_schema_of_the_metadata_does_not_move_the_table() -> None:
    """emit and the relay use the unqualified table name."""
    assert outbox_table(MetaData(schema="shop")).schema is None


def test_emit_in_a_transaction_and_outside_are_one_bus(
    live: EventBus, engine: Engine, relay: Relay
) -> None:
    live.emit("order.placed", id="direct")
    with Session(engine) as session, session.begin():
        live.emit("order.placed", id="in", session=session)
        live.emit("order.placed", id="direct too")
    assert published(live) == ["direct", "direct too"]
    assert relay.drain() == 1
    assert published(live) == ["direct", "direct too", "in"]
