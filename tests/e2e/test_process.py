"""Processes in real workers whose pool processes are killed: every instance ends as it must."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from celeriac import Event, EventBus
from celeriac.event import decode
from celeriac.outbox.database import open_database
from celeriac.outbox.status import status as outbox_status
from celeriac.process import Process, Status, create_processes, on, reminded, starts
from celeriac.process.query import counts, history
from celeriac.settings import Settings
from celeriac.testing import run_workers
from tests.unit.process.shop import State

ORDERS, KILLS = 120, 8


def children(pid: int) -> list[int]:
    """Return the pool processes of a worker."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


@pytest.mark.timeout(300)
def test_killed_pool_processes_lose_no_instance_and_repeat_no_effect(
    settings: Settings, database_url: str
) -> None:
    """In a process of its own: workers are forks of it."""
    arguments = [settings.redis_url, settings.namespace, database_url]
    command = [sys.executable, "-m", "tests.e2e.test_process", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def run(redis_url: str, namespace: str, database_url: str) -> None:
    engine = create_engine(database_url)
    create_processes(engine)
    bus = EventBus(
        service="orders",
        redis_url=redis_url,
        namespace=namespace,
        outbox_url=database_url,
        lease=2.0,
    )

    class Fulfilment(Process[State], inbox=engine):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            self.emit("asked.payment", undo="undo.payment")
            self.remind("unpaid", after=2 if event.data["late"] else 600)
            time.sleep(0.005)  # so that kills hit transactions

        @on("payment.captured")
        def paid(self, event: Event) -> None:
            self.forget("unpaid")
            self.emit("asked.parcel", undo="undo.parcel")

        @on("parcel.sent")
        def sent(self, event: Event) -> None:
            self.complete()

        @reminded("unpaid")
        def unpaid(self) -> None:
            self.abort("late")

    bus.process(Fulfilment, retries=50, backoff=0.1, max_backoff=1.0)

    @bus.on("asked.*", name="answer", retries=50, backoff=0.1)
    def answer(event: Event) -> None:
        reply = {"asked.payment": "payment.captured", "asked.parcel": "parcel.sent"}[event.type]
        number = int((event.subject or "").partition("-")[2])
        if event.type == "asked.parcel" or number % 2 == 0:
            bus.emit(reply, subject=event.subject, id=f"{event.id}.reply")

    chance = random.Random(7)
    with run_workers(bus, processes=2) as workers:
        for number in range(ORDERS):
            late = {"late": number % 2 == 1}
            bus.emit("order.placed", late, subject=f"order-{number}", id=f"placed-{number}")
        [worker] = workers._pids.values()
        for _ in range(KILLS):
            time.sleep(0.3)
            with suppress(ProcessLookupError, FileNotFoundError, IndexError):
                os.kill(chance.choice(children(worker)), signal.SIGKILL)
        database = open_database(database_url)
        ended: Counter[Status] = Counter()
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            ended = Counter({row.status: row.number for row in counts(database)})
            if ended[Status.COMPLETED] + ended[Status.ABORTED] == ORDERS:
                break
            time.sleep(0.2)
        # The last events of instances that have ended may still be in the outbox.
        while outbox_status(database).waiting and time.monotonic() < deadline:
            time.sleep(0.1)
        workers.wait_until_idle(90)
    assert ended == {Status.COMPLETED: ORDERS // 2, Status.ABORTED: ORDERS // 2}
    log = bus.service.backend.event_log
    emitted = Counter(
        (event.type, event.subject)
        for domain in ("asked", "undo")
        for event in (decode(e.body or b"") for e in log.read(domain, count=10_000))
    )
    paid = {f"order-{n}" for n in range(0, ORDERS, 2)}
    every = {f"order-{n}" for n in range(ORDERS)}
    assert emitted == Counter(
        [("asked.payment", key) for key in every]
        + [("asked.parcel", key) for key in paid]
        + [("undo.payment", key) for key in every - paid]
    )
    for number in range(ORDERS):
        found = history(database, "orders.fulfilment", f"order-{number}")
        assert found is not None
        assert [step.seq for step in found.steps] == list(range(1, len(found.steps) + 1))
        assert len({step.event_id for step in found.steps}) == len(found.steps)
    database.close()
    engine.dispose()


if __name__ == "__main__":
    run(*sys.argv[1:])
