"""The statements that create a table on each kind of database."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

DIALECTS = {
    "sqlite": sqlite.dialect,
    "postgresql": postgresql.dialect,
    "mysql": mysql.dialect,
}


def columns(table: Table, kind: str) -> list[str]:
    """Return the lines of CREATE TABLE between the parentheses."""
    lines = str(CreateTable(table).compile(dialect=DIALECTS[kind]())).splitlines()
    return [line.strip().rstrip(",") for line in lines[2:-2]]


def indexes(table: Table) -> list[str]:
    statements = [
        str(CreateIndex(index).compile(dialect=sqlite.dialect())) for index in table.indexes
    ]
    return sorted(statement.partition(" ON ")[2] for statement in statements)
