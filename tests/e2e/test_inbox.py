"""Effects exactly once: real workers, killed again and again in full flow, on real databases."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from celeriac.event import decode, decode_data
from celeriac.inbox import create_inbox
from celeriac.outbox import create_outbox

HANDLERS = ("charge", "acharge", "store", "follow")
EVENTS_PER_KILL = 33


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CELERIAC_OUTBOX_URL", database_url)
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA journal_mode=WAL"))
    create_inbox(engine)
    create_outbox(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE effect (handler VARCHAR(50), event_id VARCHAR(255))"))
    yield engine
    engine.dispose()


def effects(engine: Engine) -> Counter[tuple[str, str]]:
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT handler, event_id FROM effect"))
        return Counter((str(handler), str(id)) for handler, id in rows)


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def kill(worker: Any, what: str) -> bool:
    """Whether the worker must be started again."""
    pid = worker.process.pid
    if what == "child":
        for child in children(pid)[-1:]:
            os.kill(child, signal.SIGKILL)
        return False
    if what == "main":
        os.kill(pid, signal.SIGKILL)
    else:
        worker.kill()
    return True


def test_effects_are_there_once_whatever_is_killed(
    deployment: Any, engine: Engine, is_full: bool
) -> None:
    """Group, main process and pool process in turn; of effects none is lost and none doubled."""
    deployment.lease = 2.0
    worker = deployment.worker(app="inboxed")
    for handler in HANDLERS:
        deployment.joined(f"billing.{handler}", "order")
    chance = random.Random(7)
    ids: list[str] = []
    for n in range(9 if is_full else 3):
        some = [deployment.bus.event("order.placed", n) for _ in range(EVENTS_PER_KILL)]
        deployment.bus.emit_many(some)
        ids += [event.id for event in some]
        before = sum(effects(engine).values())
        deployment.until(
            lambda b=before: sum(effects(engine).values()) > b, what="flow", seconds=60
        )
        time.sleep(chance.uniform(0, 0.3))
        if kill(worker, ("group", "child", "main")[n % 3]):
            worker = deployment.worker(app="inboxed")
    deployment.until_settled(seconds=90)
    wanted = {(handler, id) for handler in HANDLERS for id in ids}
    found = effects(engine)
    lost = wanted - found.keys()
    doubled = {key: count for key, count in found.items() if count > 1}
    assert (len(found), lost, doubled) == (len(wanted), set(), {})
    assert deployment.missing() == 0

    def waiting() -> int:
        with engine.begin() as connection:
            return int(
                connection.execute(text("SELECT COUNT(*) FROM celeriac_outbox")).scalar_one()
            )

    deployment.until(lambda: waiting() == 0, what="the relay")
    log = deployment.bus.service.backend.event_log.read("followed", count=100_000)
    followed = Counter(decode_data(decode(entry.body), str).data for entry in log)
    assert set(followed) == set(ids)
    # Each effect emitted once, in its own transaction: what is published twice has the same id.
    assert len({decode(entry.body).id for entry in log}) == len(ids)
