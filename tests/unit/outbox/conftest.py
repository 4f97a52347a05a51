"""A database with an outbox, a bus on the embedded server, and a relay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from celeriac import EventBus, Settings
from celeriac.event import decode
from celeriac.outbox import create_outbox
from celeriac.outbox.database import Database, open_database
from celeriac.outbox.relay import Relay


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, poolclass=NullPool)
    create_outbox(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE purchase (number INTEGER)"))
    yield engine
    engine.dispose()


@pytest.fixture
def live(settings: Settings) -> EventBus:
    """A bus on the embedded server."""
    return EventBus(
        service="billing",
        redis_url=settings.redis_url,
        namespace=settings.namespace,
        emit_timeout=1.0,
    )


@pytest.fixture
def database(engine: Engine, database_url: str) -> Iterator[Database]:
    database = open_database(database_url)
    yield database
    database.close()


@pytest.fixture
def relay(database: Database, live: EventBus) -> Relay:
    return Relay(database, live.settings, live.service.backend.event_log)


def published(bus: EventBus, domain: str = "order") -> list[str]:
    """Return the ids in the event log, in order."""
    return [
        decode(entry.body).id
        for entry in bus.service.backend.event_log.read(domain, count=100_000)
        if entry.body is not None
    ]


def left(engine: Engine) -> list[str]:
    """Return the ids of the rows in the outbox."""
    with engine.begin() as connection:
        sql = text("SELECT event_id FROM celeriac_outbox ORDER BY id")
        return list(connection.execute(sql).scalars())
