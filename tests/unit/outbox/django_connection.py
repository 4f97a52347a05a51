"""A connection of Django to no server, which records its statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.unit.outbox.connection import ListeningConnection


class DjangoConnection:
    """`rows` are the answer to every query; `error` is raised by every statement, if it is set."""

    def __init__(
        self, vendor: str, rows: Sequence[Any] = (), rowcounts: Sequence[int] = ()
    ) -> None:
        self.vendor, self.rows, self.rowcounts = vendor, list(rows), list(rowcounts)
        self.settings_dict = {"NAME": "/shop.sqlite"}
        self.error: Exception | None = None
        self.executed: list[Any] = []
        self.rowcount = -1
        self.connection: ListeningConnection | None = None

    @contextmanager
    def cursor(self) -> Iterator[DjangoConnection]:
        yield self

    @property
    def description(self) -> object:
        return self.rows or None

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.executed.append(sql if parameters is None else (sql, parameters))
        if self.error is not None:
            raise self.error
        self.rowcount = self.rowcounts.pop(0) if self.rowcounts else -1

    def executemany(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.executed.append((sql, *rows))

    def fetchall(self) -> list[Any]:
        return self.rows

    def fetchone(self) -> Any:
        return self.rows[0] if self.rows else None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def ensure_connection(self) -> None:
        self.connection = self.connection or ListeningConnection()

    def close(self) -> None:
        self.executed.append("close")
        self.connection = None
