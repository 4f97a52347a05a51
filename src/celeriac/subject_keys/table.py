"""The table of subjects' keys, for SQLAlchemy and Alembic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.extra import needing
from celeriac.security.subject_key import MAX_SUBJECT
from celeriac.sql_engine import create_all
from celeriac.subject_keys.statement import TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table


def subject_keys_table(metadata: MetaData) -> Table:
    """Add the table `celeriac_subject_keys` to your metadata, and return it.

    Alembic finds it there. It has a row for each subject. An erased subject keeps its row, without
    a key. Idempotent.
    """
    with needing("sqlalchemy", "subject_keys_table"):
        from sqlalchemy import BigInteger, Column, LargeBinary, String, Table
        from sqlalchemy.dialects.mysql import VARCHAR
        from sqlalchemy.schema import BLANK_SCHEMA

    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
    # Subjects that differ in case or trailing spaces are different, but equal in MySQL. So rows are
    # found by the digest of the subject, which itself is for people.
    shown = String(MAX_SUBJECT).with_variant(
        VARCHAR(MAX_SUBJECT, charset="utf8mb4"), "mysql", "mariadb"
    )
    return Table(
        TABLE,
        metadata,
        Column("digest", String(64), primary_key=True),
        Column("subject", shown, nullable=False),
        Column("key_id", String(64), nullable=False, unique=True),
        # The key, wrapped by the master key; NULL after the erasure.
        Column("wrapped", LargeBinary(64)),
        Column("created_ms", BigInteger, nullable=False),
        Column("erased_ms", BigInteger),
        Column("erased_by", String(255)),
        Column("reason", String(1000)),
        schema=BLANK_SCHEMA,
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


def create_subject_keys(bind: Engine | Connection) -> None:
    """Create the table if it is missing, for applications without migrations. Idempotent.

    With an AsyncEngine: `await connection.run_sync(create_subject_keys)`.
    """
    with needing("sqlalchemy", "create_subject_keys"):
        from sqlalchemy import MetaData

    metadata = MetaData()
    subject_keys_table(metadata)
    create_all(metadata, bind)
