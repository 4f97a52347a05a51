"""The columns of processes. Applications have them in their migrations."""

from __future__ import annotations

import pytest
from sqlalchemy import MetaData

from celeriac.process.table import process_tables
from tests.unit.ddl import columns, indexes

EXACT = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@pytest.mark.parametrize(
    ("kind", "exact", "key", "text", "body"),
    [
        ("sqlite", "", "VARCHAR(120)", "TEXT", "BLOB"),
        ("postgresql", "", "VARCHAR(120)", "TEXT", "BYTEA"),
        (
            "mysql", EXACT, "VARBINARY(120)", "LONGTEXT CHARACTER SET utf8mb4", "BLOB(4294967295)",
        ),
    ],
)  # fmt: skip
def test_columns(kind: str, exact: str, key: str, text: str, body: str) -> None:
    processes, timers, steps = process_tables(MetaData())
    identity = [f"handler VARCHAR(255){exact} NOT NULL", f"instance_key {key} NOT NULL"]
    assert [
        *identity,
        "status VARCHAR(16) NOT NULL",
        f"state {text} NOT NULL",
        "version INTEGER NOT NULL",
        "seq BIGINT NOT NULL",
        f"timers {text} NOT NULL",
        f"undo_events {text} NOT NULL",
        f"reason {text} NOT NULL",
        f"sensitive_paths {text} NOT NULL",
        "started_ms BIGINT NOT NULL",
        "updated_ms BIGINT NOT NULL",
        "expires_ms BIGINT",
        "PRIMARY KEY (handler, instance_key)",
    ] == columns(processes, kind)
    assert [
        *identity,
        f"name VARCHAR(100){exact} NOT NULL",
        "event_id VARCHAR(255) NOT NULL",
        "at_ms BIGINT NOT NULL",
        "domain VARCHAR(255) NOT NULL",
        f"body {body} NOT NULL",
        "PRIMARY KEY (handler, instance_key, name)",
    ] == columns(timers, kind)
    assert [
        *identity,
        "seq BIGINT NOT NULL",
        "at_ms BIGINT NOT NULL",
        f"event_id VARCHAR(255){exact} NOT NULL",
        f"event_type VARCHAR(255){exact} NOT NULL",
        f"detail {text} NOT NULL",
        "PRIMARY KEY (handler, instance_key, seq)",
    ] == columns(steps, kind)


def test_indexes() -> None:
    processes, timers, steps = process_tables(MetaData())
    assert [
        "celeriac_process (expires_ms)",
        "celeriac_process (handler, status, started_ms)",
        "celeriac_process (status, started_ms)",
    ] == indexes(processes)
    assert ["celeriac_timer (at_ms)", "celeriac_timer (event_id)"] == indexes(timers)
    assert [] == indexes(steps)


def test_the_tables_of_a_metadata_are_made_once() -> None:
    metadata = MetaData()
    assert process_tables(metadata) == process_tables(metadata)
    assert 3 == len(metadata.tables)
