"""The columns of the inbox. Applications have them in their migrations."""

from __future__ import annotations

import pytest
from sqlalchemy import MetaData

from celeriac.inbox import inbox_table
from tests.unit.ddl import columns, indexes

NAME = "VARCHAR(255)"
MYSQL_NAME = f"{NAME} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@pytest.mark.parametrize(
    ("kind", "key", "name"),
    [
        ("sqlite", "VARCHAR(263)", NAME),
        ("postgresql", "VARCHAR(263)", NAME),
        ("mysql", "VARBINARY(1028)", MYSQL_NAME),
    ],
)
def test_columns(kind: str, key: str, name: str) -> None:
    metadata = MetaData()
    table = inbox_table(metadata)
    assert [
        f"event_key {key} NOT NULL",
        f"handler {name} NOT NULL",
        f"domain {name} NOT NULL",
        "at_ms BIGINT NOT NULL",
        "PRIMARY KEY (event_key, handler, domain)",
    ] == columns(table, kind)
    assert ["celeriac_inbox (at_ms)"] == indexes(table)
    assert table is inbox_table(metadata), "the table that the metadata has already"
