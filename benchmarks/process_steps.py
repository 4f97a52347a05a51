"""`python -m benchmarks.process_steps`: processes on SQLite, PostgreSQL and MariaDB.

For each database: steps/s of a process beside a transaction with the same effects in plain SQL,
both again with OPEN open instances, the time to count and list these, and the timers/s that the
relay moves with DUE expired at once. One thread calls the handler; no worker, no broker. The
databases keep their defaults, so a commit waits for the disk. Prints JSON lines, with the load of
the machine.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Engine, create_engine, text

from celeriac import Event, EventBus
from celeriac.event import build_event, decode, encode
from celeriac.outbox.database import open_database
from celeriac.outbox.timer import move_due
from celeriac.process import Process, create_processes, starts
from celeriac.process.query import counts, instances
from celeriac.testing import start_server
from devtools.faults.inboxed import MARIADB, POSTGRESQL, SQLITE, InboxedEffects, new_url

OPEN, DUE = 1_000_000, 100_000
ROUNDS, SECONDS = 3, 2.0  # of each side
BODY = encode(build_event("process.reminded", {"key": "k", "name": "n"}, source="bench", id="x"))
# A table of numbers, :first <= n < :last.
NUMBERS = {
    SQLITE: "(WITH RECURSIVE c(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM c "
    "WHERE n + 1 < :last) SELECT n FROM c)",
    POSTGRESQL: "(SELECT generate_series(:first, :last - 1) AS n)",
    MARIADB: "(SELECT seq AS n FROM seq_0_to_1000000 WHERE seq >= :first AND seq < :last)",
}
INSTANCES = (
    "INSERT INTO celeriac_process (handler, instance_key, status, state, version, seq, timers, "
    "undo_events, reason, sensitive_paths, started_ms, updated_ms, expires_ms) SELECT "
    "'bench.counting', {key}, 'open', '{{}}', 1, 1, '', '', '', '', n, n, NULL "
    "FROM {numbers} numbers"
)
TIMERS = (
    "INSERT INTO celeriac_timer (handler, instance_key, name, event_id, at_ms, domain, body) "
    "SELECT 'bench.counting', {key}, 'unpaid', {key}, 1, 'process', :body FROM {numbers} numbers"
)
RAW = (
    "INSERT INTO note (event) VALUES (:id)",
    "INSERT INTO instance (id, state) VALUES (:id, '')",
    "SELECT state FROM instance WHERE id = :id{lock}",
    "UPDATE instance SET state = :state WHERE id = :id",
    "INSERT INTO step (id, event) VALUES (:id, :id)",
    "INSERT INTO outgoing (event, body) VALUES (:id, :body)",
)
RAW_TABLES = (
    "CREATE TABLE note (event VARCHAR(100) PRIMARY KEY)",
    "CREATE TABLE instance (id VARCHAR(100) PRIMARY KEY, state VARCHAR(1000))",
    "CREATE TABLE step (id VARCHAR(100) PRIMARY KEY, event VARCHAR(100))",
    "CREATE TABLE outgoing (event VARCHAR(100) PRIMARY KEY, body VARCHAR(1000))",
)


@dataclass
class State:
    cents: int = 0


@dataclass(frozen=True)
class Site:
    """One database, and a call that does one step on each side."""

    kind: str
    url: str
    engine: Engine
    process: Callable[[], None]
    raw: Callable[[], None]

    def fill(self, sql: str, number: int, **parameters: Any) -> None:
        """Insert rows by their number, on the server."""
        key = "CONCAT('key-', n)" if self.kind == MARIADB else "'key-' || n"
        statement = text(sql.format(key=key, numbers=NUMBERS[self.kind]))
        for first in range(0, number, 100_000):
            with self.engine.begin() as connection:
                last = min(number, first + 100_000)
                connection.execute(statement, {**parameters, "first": first, "last": last})
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in ("celeriac_process", "celeriac_timer"):
                word = "ANALYZE TABLE" if self.kind == MARIADB else "ANALYZE"
                connection.execute(text(f"{word} {table}"))


@contextmanager
def site(kind: str, directory: Path, redis_url: str) -> Iterator[Site]:
    made = InboxedEffects(new_url(kind, directory))
    made.create()
    engine = create_engine(made.url)
    create_processes(engine)
    with engine.begin() as connection:
        for table in RAW_TABLES:
            connection.execute(text(table))

    class Counting(Process[State], inbox=engine):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            self.state.cents += 1
            self.emit("order.counted", {"cents": self.state.cents})

    bus = EventBus(service="bench", redis_url=redis_url)
    bus.process(Counting)
    [handler] = bus.service.handlers.values()
    ids = (f"order-{number}" for number in itertools.count())
    lock = "" if kind == SQLITE else " FOR UPDATE"
    statements = [text(sql.format(lock=lock)) for sql in RAW]

    def step() -> None:
        id = next(ids)
        event = build_event("order.placed", {"cents": 5}, source="bench", id=id, subject=id)
        assert handler.receiver is not None
        handler.receiver(decode(encode(event)))

    def transaction() -> None:
        id = next(ids)
        values = {"id": id, "state": '{"cents":1}', "body": BODY.decode()}
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(statement, values)

    try:
        yield Site(kind, made.url, engine, step, transaction)
    finally:
        engine.dispose()
        made.drop()


def rates(site: Site) -> dict[str, float]:
    """Return steps/s and transactions/s, each the median of ROUNDS in turn."""
    sides = {"steps/s": site.process, "raw transactions/s": site.raw}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for call in sides.values():
        call()
    for _ in range(ROUNDS):
        for name, call in sides.items():
            found[name].append(rate(call))
    return {name: round(median(values), 1) for name, values in found.items()}


def rate(call: Callable[[], None]) -> float:
    begun, number = time.perf_counter(), 0
    while (seconds := time.perf_counter() - begun) < SECONDS:
        call()
        number += 1
    return number / seconds


def reading(site: Site) -> dict[str, float]:
    """Return the ms to count the instances, up to the limit, and to list the oldest 100."""
    database = open_database(site.url)
    try:
        return {
            "count ms": milliseconds(lambda: counts(database)),
            "list ms": milliseconds(lambda: instances(database, handler="bench.counting")),
        }
    finally:
        database.close()


def milliseconds(call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(5):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    return round(median(times), 1)


def moving(site: Site) -> dict[str, float]:
    """Return timers/s with DUE expired in the same ms, in the relay's transactions."""
    site.fill(TIMERS, DUE, body=BODY)
    database, begun, moved = open_database(site.url), time.perf_counter(), 0
    while True:
        with database.transaction() as execute:
            batch = move_due(execute, database.kind, 2)
        moved += batch
        if not batch:
            break
    seconds = time.perf_counter() - begun
    database.close()
    assert moved == DUE
    return {"timers/s": round(moved / seconds)}


def main(kinds: list[str]) -> int:
    with tempfile.TemporaryDirectory() as directory, start_server() as server:
        for kind in kinds or (SQLITE, POSTGRESQL, MARIADB):
            load = os.getloadavg()[0]
            with site(kind, Path(directory), server.url) as made:
                row: dict[str, Any] = {"database": kind, "load": round(load, 1), **rates(made)}
                made.fill(INSTANCES, OPEN)
                row |= {f"{name}, {OPEN:,} open": value for name, value in rates(made).items()}
                row |= reading(made) | moving(made)
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
