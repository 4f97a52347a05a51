"""A database that reports how much of its tables each statement reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from celeriac.outbox.database import Execute
from celeriac.outbox.sql_database import SQLDatabase

MAX_ROWS = 2500  # that one statement may read or sort: five times a batch
_READS = "SHOW SESSION STATUS LIKE 'Handler_read%'"


class ExplainedDatabase(SQLDatabase):
    """Explains each statement before it runs. `problems` are those that read too much.

    PostgreSQL and SQLite are asked for the plan, MariaDB for the number of rows read.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.problems: list[str] = []
        self.statements = 0

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        with super().transaction() as execute:

            def run(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
                self.statements += 1
                if self.kind != "mysql":
                    explain = _postgresql if self.kind == "postgresql" else _sqlite
                    self._note(sql, explain(execute, sql, parameters))
                    return execute(sql, parameters)
                before = _rows_read(execute)
                rows = list(execute(sql, parameters))
                # Reading the counters reads some rows, too.
                if (read := _rows_read(execute) - before) > MAX_ROWS:
                    self._note(sql, [f"{read} rows read"])
                return rows

            yield run

    def _note(self, sql: str, problems: Sequence[str]) -> None:
        self.problems += [f"{problem}: {sql[:200]}" for problem in problems]


def _postgresql(execute: Execute, sql: str, parameters: Mapping[str, Any]) -> list[str]:
    ((plan,),) = execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
    return list(_of_node(plan[0]["Plan"]))


def _of_node(node: Mapping[str, Any]) -> Iterator[str]:
    relation = str(node.get("Relation Name", ""))
    if node["Node Type"] == "Seq Scan" and relation.startswith("celeriac_"):
        yield f"Seq Scan on {relation}"
    if node["Node Type"] == "Sort" and node["Plan Rows"] > MAX_ROWS:
        yield f"Sort of {node['Plan Rows']} rows"
    for child in node.get("Plans", ()):
        yield from _of_node(child)


def _sqlite(execute: Execute, sql: str, parameters: Mapping[str, Any]) -> list[str]:
    details = [str(row[3]) for row in execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    # A batch is sorted before it is inserted.
    sorted_ = "TEMP B-TREE" if not sql.startswith("INSERT") else "SCAN celeriac"
    return [d for d in details if re.match(r"SCAN celeriac_(?!timer USING)", d) or sorted_ in d]


def _rows_read(execute: Execute) -> int:
    return sum(int(value) for _, value in execute(_READS, {}))
