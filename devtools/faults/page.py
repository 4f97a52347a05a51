"""docs/reference/faults.md, from rows that were measured; and rows kept between runs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import celery
import msgspec

from devtools.faults.fault import RABBITMQ, REDIS
from devtools.faults.row import Row

COLUMNS = (
    "fault", "times", "deliveries", "lost", "duplicate effects", "duplicate runs", "unexplained",
    "dead", "recovery", "lease", "stock deliveries", "stock lost", "stock duplicates",
)  # fmt: skip


def load(path: Path) -> list[Row]:
    """The rows kept there; none if there is no such file."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()]


def keep(path: Path, row: Row) -> None:
    """Appends a row."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(row) + b"\n")


def page(rows: Sequence[Row], rabbitmq: str = "") -> str:
    """The whole page. `rabbitmq` is the version of RabbitMQ."""
    servers = sorted({row.server for row in rows if row.server})
    versions = [f"Celery {celery.__version__}", *servers]
    versions += [f"RabbitMQ {rabbitmq}"] if rabbitmq else []
    versions += [f"Python {platform.python_version()}"]
    parts = [
        Path(__file__)
        .with_suffix(".md")
        .read_text()
        .format(
            date=date.today().isoformat(),
            minutes=round(sum(row.seconds for row in rows) / 60),
            machine=f"a machine of {os.cpu_count()} cores",
            versions=", ".join(versions),
        )
    ]
    for broker, title in (
        (REDIS, "Celery's queues in Redis"),
        (RABBITMQ, "Celery's queues in RabbitMQ"),
    ):
        of_broker = [row for row in rows if row.broker == broker]
        if of_broker:
            parts.append(f"## {title}\n\n{_table(of_broker)}\n")
    failed = [row for row in rows if not row.ok]
    if failed:
        lines = "\n".join(f"- {row.fault} ({row.broker}): {row.failed}" for row in failed)
        parts.append(f"## Missed targets\n\n{lines}\n")
    lost = sum(row.lost or 0 for row in rows)
    deliveries = sum(row.deliveries for row in rows)
    parts.append(f"{len(rows)} rows, {deliveries:,} deliveries, {lost} lost.\n")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    lines = [COLUMNS, ("---", *["--:"] * (len(COLUMNS) - 1)), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    recovery = None if row.works else row.recovery
    numbers = (
        row.injected, row.deliveries, row.lost, row.effects_doubled, row.executions_doubled,
        row.unexplained, row.dead, recovery, row.lease, row.stock_deliveries, row.stock_lost,
        row.stock_doubled,
    )  # fmt: skip
    name = row.fault if row.ok else f"**{row.fault}**"
    return (name, *("·" if n is None else f"{n:,}".removesuffix(".0") for n in numbers))
