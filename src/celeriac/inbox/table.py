"""The inbox's table, for SQLAlchemy and Alembic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.event.attributes import MAX_LENGTH
from celeriac.event.identity import MAX_KEY_LENGTH, SOURCE_LENGTH
from celeriac.extra import needing
from celeriac.inbox.statement import TABLE
from celeriac.sql_engine import create_all

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table


def inbox_table(metadata: MetaData) -> Table:
    """Add the table `celeriac_inbox` to your metadata, where Alembic finds it, and return it.

    It has a row for each event that a handler with `inbox=` has processed, and no schema:
    PostgreSQL resolves the name by `search_path`. Idempotent.
    """
    with needing("sqlalchemy", "inbox_table"):
        from sqlalchemy import BigInteger, Column, Index, String, Table
        from sqlalchemy.dialects.mysql import VARBINARY, VARCHAR
        from sqlalchemy.schema import BLANK_SCHEMA

    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
    # Ids that differ in case or trailing spaces are different, but equal in MySQL's default
    # collation. The three columns of the primary key take 3,068 bytes; InnoDB allows 3,072.
    key = String(MAX_KEY_LENGTH).with_variant(
        VARBINARY(4 * MAX_LENGTH + SOURCE_LENGTH), "mysql", "mariadb"
    )
    name = String(255).with_variant(
        VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )
    return Table(
        TABLE,
        metadata,
        Column("event_key", key, primary_key=True),
        Column("handler", name, primary_key=True),
        Column("domain", name, primary_key=True),
        Column("at_ms", BigInteger, nullable=False),
        Index(f"{TABLE}_at_ms", "at_ms"),
        schema=BLANK_SCHEMA,
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


def create_inbox(bind: Engine | Connection) -> None:
    """Create the table if it is missing, for applications without migrations.

    Blocks; idempotent. You may call it at import: processes that are forked later open
    their own connections. With an AsyncEngine: `await connection.run_sync(create_inbox)`.
    """
    with needing("sqlalchemy", "create_inbox"):
        from sqlalchemy import MetaData

    metadata = MetaData()
    inbox_table(metadata)
    create_all(metadata, bind)
