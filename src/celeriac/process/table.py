"""The tables of processes, for SQLAlchemy and Alembic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.event.attributes import MAX_LENGTH
from celeriac.extra import needing
from celeriac.flow_control import MAX_KEY_BYTES
from celeriac.outbox.pruning import PROCESSES, STEPS
from celeriac.outbox.table import LONGBLOB
from celeriac.outbox.timer import TABLE as TIMERS
from celeriac.process.definition import MAX_NAME
from celeriac.sql_engine import create_all

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Engine, MetaData, Table


def process_tables(metadata: MetaData) -> tuple[Table, Table, Table]:
    """Add `celeriac_process`, `celeriac_timer` and `celeriac_process_step` to your metadata.

    Alembic finds them there. They have no schema: PostgreSQL resolves the names by `search_path`.
    Idempotent.
    """
    with needing("sqlalchemy", "process_tables"):
        from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text
        from sqlalchemy.dialects.mysql import LONGTEXT, VARBINARY, VARCHAR
        from sqlalchemy.schema import BLANK_SCHEMA

    if PROCESSES in metadata.tables:
        return metadata.tables[PROCESSES], metadata.tables[TIMERS], metadata.tables[STEPS]

    def name(length: int) -> Any:
        # Case-sensitive, also on MySQL.
        exact = VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
        return String(length).with_variant(exact, "mysql", "mariadb")

    text = Text().with_variant(LONGTEXT(charset="utf8mb4"), "mysql", "mariadb")
    # Compared byte by byte: MySQL ignores trailing spaces in text.
    key = String(MAX_KEY_BYTES).with_variant(VARBINARY(MAX_KEY_BYTES), "mysql", "mariadb")

    def identity() -> tuple[Column[Any], Column[Any]]:
        return (
            Column("handler", name(MAX_LENGTH), primary_key=True),
            Column("instance_key", key, primary_key=True),
        )

    options: dict[str, Any] = {
        "schema": BLANK_SCHEMA, "mysql_engine": "InnoDB", "mariadb_engine": "InnoDB",
    }  # fmt: skip
    processes = Table(
        PROCESSES,
        metadata,
        *identity(),
        Column("status", String(16), nullable=False),
        Column("state", text, nullable=False),
        Column("version", Integer, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("timers", text, nullable=False),
        Column("undo_events", text, nullable=False),
        Column("reason", text, nullable=False),
        Column("sensitive_paths", text, nullable=False),
        Column("started_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
        Column("expires_ms", BigInteger),
        Index(f"{PROCESSES}_status", "status", "started_ms"),
        Index(f"{PROCESSES}_handler", "handler", "status", "started_ms"),
        Index(f"{PROCESSES}_expires_ms", "expires_ms"),
        **options,
    )
    timers = Table(
        TIMERS,
        metadata,
        *identity(),
        Column("name", name(MAX_NAME), primary_key=True),
        Column("event_id", String(MAX_LENGTH), nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("domain", String(MAX_LENGTH), nullable=False),
        Column("body", LargeBinary(LONGBLOB), nullable=False),
        Index(f"{TIMERS}_at_ms", "at_ms"),
        Index(f"{TIMERS}_event_id", "event_id"),
        **options,
    )
    steps = Table(
        STEPS,
        metadata,
        *identity(),
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("event_id", name(MAX_LENGTH), nullable=False),
        Column("event_type", name(MAX_LENGTH), nullable=False),
        Column("detail", text, nullable=False),
        **options,
    )
    return processes, timers, steps


def create_processes(bind: Engine | Connection) -> None:
    """Create the missing tables of processes, inbox and outbox, for applications without
    migrations.

    Blocks; idempotent. You may call it at import: processes that are forked later open
    their own connections. With an AsyncEngine: `await connection.run_sync(create_processes)`.
    """
    with needing("sqlalchemy", "create_processes"):
        from sqlalchemy import MetaData

    from celeriac.inbox import inbox_table
    from celeriac.outbox import outbox_table

    metadata = MetaData()
    process_tables(metadata)
    inbox_table(metadata)
    outbox_table(metadata)
    create_all(metadata, bind)
