"""A database with an inbox, and a table for effects without a unique key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from celeriac.event import key_id
from celeriac.inbox import create_inbox


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, poolclass=NullPool)
    create_inbox(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE effect (event_id VARCHAR(255))"))
    yield engine
    engine.dispose()


def effects(engine: Engine) -> Counter[str]:
    """Return event id → the number of the handler's effects."""
    with engine.begin() as connection:
        return Counter(connection.execute(text("SELECT event_id FROM effect")).scalars())


def noted(engine: Engine) -> list[tuple[str, str, str]]:
    """Return the rows of the inbox as (event id, handler, domain)."""
    sql = "SELECT event_key, handler, domain FROM celeriac_inbox ORDER BY 1, 2, 3"
    with engine.begin() as connection:
        rows = [[_text(value) for value in row] for row in connection.execute(text(sql))]
    return [(key_id(key), handler, domain) for key, handler, domain in rows]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
