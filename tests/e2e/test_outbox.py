"""Committed means published, rolled back means never, while relays are killed and Redis is away."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.event import listen
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from celeriac import EventBus
from celeriac.event import decode
from celeriac.outbox import create_outbox
from celeriac.outbox import status as state
from celeriac.outbox.database import open_database
from celeriac.testing.process_guard import GuardedProcess
from devtools.fork_server import fork_server

MAIN = "from celeriac.cli import main; main()"
SITE = Path(__file__).parent / "site"
PRODUCERS, RELAYS, BACKLOG = 3, 3, 20_000


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    options: dict[str, Any] = {"connect_args": {"timeout": 60}} if "sqlite" in database_url else {}
    engine = create_engine(database_url, poolclass=NullPool, **options)
    if engine.dialect.name == "sqlite":
        # Readers and the writer do not wait for each other, as in any application under load.
        listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA journal_mode=WAL"))
    create_outbox(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE purchase (id VARCHAR(50))"))
    yield engine
    engine.dispose()


class Producer(threading.Thread):
    """Writes rows and events in transactions of its own, and rolls a third of them back."""

    def __init__(self, number: int, bus: EventBus, engine: Engine) -> None:
        super().__init__(name=f"producer-{number}")
        self.number, self.bus, self.engine = number, bus, engine
        self.committed: list[str] = []
        self.rolled_back: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        chance, n = random.Random(self.number), 0
        while not self.ended.wait(0.005):
            ids = [f"{self.number}-{n + k}" for k in range(chance.randint(1, 8))]
            n += len(ids)
            with suppress(OperationalError), Session(self.engine) as session:
                for id in ids:
                    session.execute(text("INSERT INTO purchase VALUES (:id)"), {"id": id})
                    self.bus.emit("order.placed", id=id, subject=f"{self.number}", session=session)
                if chance.random() < 0.3:
                    session.rollback()
                    self.rolled_back += ids
                else:
                    session.commit()
                    self.committed += ids


class Relays:
    """Processes of `celeriac relay`, which are killed one after the other. Every second one goes
    through Django to the same table."""

    def __init__(self, url: str, environment: dict[str, str], log: Path) -> None:
        self.environment = {
            **environment,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "PYTHONPATH": str(SITE),
        }
        self.kinds = itertools.cycle([("--database", url), ("--django",)])
        self.log = log
        self.running: list[GuardedProcess] = []

    def start(self) -> None:
        command = [sys.executable, "-c", MAIN, "relay", *next(self.kinds)]
        with self.log.open("ab") as out:
            self.running.append(
                fork_server().popen(command, env=self.environment, cwd=SITE, stdout=out, stderr=out)
            )

    def kill_one(self, chance: random.Random) -> None:
        chosen = chance.choice(self.running)
        self.running.remove(chosen)
        chosen.kill_group()
        chosen.wait(10)

    def end(self) -> None:
        for process in self.running:
            process.kill_group()
            process.wait(10)


@pytest.mark.timeout(240)
def test_relays_killed_again_and_again_lose_nothing_and_keep_the_order(
    deployment: Any, engine: Engine, database_url: str, tmp_path: Path, is_full: bool
) -> None:
    """Three at once on one database, and Redis is stopped in the middle and comes back."""
    bus = EventBus(service="shop", redis_url=deployment.server.url)
    backlog = [bus.event("order.placed", id=f"b-{n}", subject="backlog") for n in range(BACKLOG)]
    with engine.begin() as connection:
        # So that there is something in the middle of which a relay can die.
        bus.emit_many(backlog, session=connection)
    producers = [Producer(n, bus, engine) for n in range(PRODUCERS)]
    relays = Relays(database_url, deployment.environment, tmp_path / "relays.log")
    chance = random.Random(3)
    kills, seconds = 0, 12.0 if is_full else 5.0
    try:
        for _ in range(RELAYS):
            relays.start()
        for producer in producers:
            producer.start()
        begun = time.monotonic()

        def enough() -> bool:
            """On a loaded machine so much takes longer."""
            commits = sum(len(producer.committed) for producer in producers)
            rolled_back = any(producer.rolled_back for producer in producers)
            return (kills >= 5 and commits > 200 and rolled_back) or past(36)

        def past(seconds: float) -> bool:
            return time.monotonic() - begun > seconds

        while not (past(seconds) and enough()):
            time.sleep(chance.uniform(0.5, 1.5) if is_full else chance.uniform(0.3, 0.9))
            relays.kill_one(chance)
            relays.start()
            kills += 1
            if kills == 4:
                deployment.server.stop()
                time.sleep(1.5)
                deployment.server.start()
        for producer in producers:
            producer.ended.set()
            producer.join(60)
        database = open_database(database_url)
        deployment.until(lambda: state.status(database).waiting == 0, what="the relays", seconds=90)
        assert state.status(database).failed == 0
        database.close()
    finally:
        for producer in producers:
            producer.ended.set()
        relays.end()
    committed = [id for producer in producers for id in producer.committed]
    written = {*committed, *(event.id for event in backlog)}
    rolled_back = {id for producer in producers for id in producer.rolled_back}
    with engine.begin() as connection:
        kept = set(connection.execute(text("SELECT id FROM purchase")).scalars())
    assert kept == set(committed)
    assert kills >= 5 and len(committed) > 200 and rolled_back
    entries = bus.service.backend.event_log.read("order", count=1_000_000)
    log = [decode(entry.body) for entry in entries if entry.body is not None]
    first: dict[str, list[str]] = defaultdict(list)
    for subject, id in dict.fromkeys((str(event.subject), event.id) for event in log):
        first[subject].append(id)
    assert {id for ids in first.values() for id in ids} == written
    assert first["backlog"] == [event.id for event in backlog]
    for producer in producers:
        assert first[f"{producer.number}"] == producer.committed
    # Said, not promised: how much a kill between publishing and the commit doubled.
    print(f"{kills} kills, {len(committed)} committed, {len(log) - len(written)} published twice")


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_a_worker_of_any_pool_relays(
    deployment: Any, postgres_url: str, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its handlers, and it stops when the worker does. Prefork: see test_inbox.py."""
    url = postgres_url.replace("postgresql://", "postgresql+psycopg://")
    monkeypatch.setenv("CELERIAC_OUTBOX_URL", postgres_url)
    engine = create_engine(url, poolclass=NullPool)
    create_outbox(engine)
    worker = deployment.worker(pool=pool)
    deployment.joined("billing.work", "work")
    ids = []
    for _ in range(20):
        with Session(engine) as session, session.begin():
            ids.append(deployment.bus.emit("work.one", session=session))
    deployment.until(
        lambda: deployment.runs("billing.work") == dict.fromkeys(ids, 1), what="the relay"
    )
    database = open_database(url)
    deployment.until(lambda: state.status(database).waiting == 0, what="an empty outbox")
    database.close()
    assert worker.stop() == 0
    assert "relaying the outbox of postgresql://" in worker.said()
