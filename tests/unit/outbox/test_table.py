"""The columns of the outbox. Applications have them in their migrations."""

from __future__ import annotations

import pytest
from sqlalchemy import MetaData

from celeriac.outbox import outbox_table
from tests.unit.ddl import columns, indexes


@pytest.mark.parametrize(
    ("kind", "id", "body", "key"),
    [
        ("sqlite", "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "BLOB", []),
        ("postgresql", "BIGSERIAL NOT NULL", "BYTEA", ["PRIMARY KEY (id)"]),
        ("mysql", "BIGINT NOT NULL AUTO_INCREMENT", "BLOB(4294967295)", ["PRIMARY KEY (id)"]),
    ],
)
def test_columns(kind: str, id: str, body: str, key: list[str]) -> None:
    metadata = MetaData()
    table = outbox_table(metadata)
    assert [
        f"id {id}",
        "event_id VARCHAR(255) NOT NULL",
        "domain VARCHAR(255) NOT NULL",
        f"body {body} NOT NULL",
        "at_ms BIGINT",
        "created_ms BIGINT NOT NULL",
        "failed_ms BIGINT",
        "error TEXT",
        *key,
    ] == columns(table, kind)
    assert [] == indexes(table)
    assert table is outbox_table(metadata), "the table that the metadata has already"
