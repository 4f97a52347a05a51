"""The outbox's table, for SQLAlchemy and Alembic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.extra import needing
from celeriac.outbox.statement import TABLE
from celeriac.sql_engine import create_all

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table

# Selects MySQL's type by its size; other databases have one type.
LONGBLOB = 2**32 - 1


def outbox_table(metadata: MetaData) -> Table:
    """Add the table `celeriac_outbox` to your metadata, where Alembic finds it, and return it.

    It has a row for each event that waits for a relay, and no schema: PostgreSQL resolves the name
    by `search_path`. Idempotent.
    """
    with needing("sqlalchemy", "outbox_table"):
        from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table, Text
        from sqlalchemy.schema import BLANK_SCHEMA

    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
    return Table(
        TABLE,
        metadata,
        # In the order of the emits; never reused, even after the newest row is deleted.
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("event_id", String(255), nullable=False),
        Column("domain", String(255), nullable=False),
        Column("body", LargeBinary(LONGBLOB), nullable=False),
        Column("at_ms", BigInteger),
        Column("created_ms", BigInteger, nullable=False),
        Column("failed_ms", BigInteger),
        Column("error", Text),
        schema=BLANK_SCHEMA,
        sqlite_autoincrement=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
    )


def create_outbox(bind: Engine | Connection) -> None:
    """Create the table if it is missing, for applications without migrations.

    Blocks; idempotent. You may call it at import: processes that are forked later open
    their own connections. With an AsyncEngine: `await connection.run_sync(create_outbox)`.
    """
    with needing("sqlalchemy", "create_outbox"):
        from sqlalchemy import MetaData

    metadata = MetaData()
    outbox_table(metadata)
    create_all(metadata, bind)
