"""The shop under load, with processes killed in the middle, on each database.

Every order has one instance, which ends as its card and its product decide. Every event is emitted
once, and so is every undo.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from celeriac.event import decode
from celeriac.outbox.database import Database, open_database
from celeriac.outbox.status import status as outbox_status
from celeriac.process import Status
from celeriac.process.query import counts, history, instances
from celeriac.settings import Settings
from celeriac.store.factory import redis_backend
from celeriac.testing.process_guard import GuardedProcess
from devtools.fork_server import fork_server
from handlers.gateway import payments
from handlers.warehouse import reservations
from tests.e2e.test_process import children

ROOT = Path(__file__).parents[2]
ORDERS, KILLS = 60, 6
CELERY = (sys.executable, "-m", "celery", "-A", "config")
# How orders 1 to 60 end: see tasks/checkout.py.
DECLINED, SOLD_OUT, DAMAGED = (7, 27, 47), (11, 31, 51), (19, 49)
UNPAID = 50
ACCEPTED = ["order.placed", "order.accepted", "payment.requested"]
PAID = [*ACCEPTED, "payment.captured", "order.paid", "stock.requested"]
SENT = [*PAID, "stock.reserved", "shipment.requested", "shipment.sent", "order.completed"]
REFUND = ["payment.refund_requested", "order.cancelled"]
RELEASE = ["stock.release_requested", *REFUND, "payment.refunded"]


def events_of(number: int) -> list[str]:
    """Return the events about an order. Each is emitted once."""
    if number in DECLINED:
        return [*ACCEPTED, "payment.declined", *REFUND]
    if number == UNPAID:
        return [*ACCEPTED, "process.reminded", *REFUND]
    if number in SOLD_OUT:
        return [*PAID, "stock.missing", *RELEASE]
    if number in DAMAGED:
        failed = ["stock.reserved", "shipment.requested", "shipment.failed", "stock.released"]
        return [*PAID, *failed, *RELEASE]
    return SENT


@dataclass
class Workers:
    """One worker for each service that an order passes through."""

    environment: dict[str, str]
    directory: Path
    running: dict[str, GuardedProcess] = field(default_factory=dict)

    def start(self, service: str) -> None:
        """Start a worker, also in place of one that was killed."""
        command = [*CELERY, "worker", "-n", f"{service}@%h", "-c", "2", "--without-gossip"]
        with (self.directory / f"{service}.log").open("ab") as log:
            self.running[service] = fork_server().popen(
                [*command, "--without-mingle"],
                env={**self.environment, "CELERIAC_SERVICE": service},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def kill_pool_process(self, service: str, chance: random.Random) -> None:
        """Kill one pool process, which the worker replaces."""
        with suppress(ProcessLookupError, FileNotFoundError, IndexError):
            os.kill(chance.choice(children(self.running[service].pid)), signal.SIGKILL)

    def kill(self, service: str) -> None:
        """Kill a worker with its pool processes."""
        self.running[service].kill_group()
        self.running[service].wait(10)

    def logs(self) -> str:
        return "\n".join(p.read_text()[-3000:] for p in sorted(self.directory.glob("*.log")))


@pytest.fixture
def workers(
    settings: Settings, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workers]:
    monkeypatch.setenv("SANDBOX_URL", f"sqlite:///{tmp_path}/sandbox.sqlite")
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("CELERIAC_", "FLOWER_"))}
    environment = {
        **bare,
        "CELERIAC_REDIS_URL": settings.redis_url,
        "CELERIAC_NAMESPACE": settings.namespace,
        "CELERIAC_OUTBOX_URL": database_url,
        "CELERIAC_LEASE": "2",
        # Longer than the others wait for their payment, also on a busy machine.
        "PAYMENT_DEADLINE": "45",
    }
    workers = Workers(environment, tmp_path)
    yield workers
    for service in workers.running:
        workers.kill(service)


@pytest.mark.timeout(240)
def test_killed_workers_lose_no_order_and_repeat_no_event(
    workers: Workers, settings: Settings, database_url: str
) -> None:
    backend, database = redis_backend(settings), open_database(database_url)
    for service in ("orders", "billing", "shipping"):
        workers.start(service)
    wait_for(lambda: len(backend.registry.handlers()) == 6, 60, workers.logs)
    place(ORDERS, workers.environment)
    chance = random.Random(7)
    for kill in range(KILLS):
        time.sleep(0.5)
        workers.kill_pool_process(("orders", "billing", "shipping")[kill % 3], chance)
    # The main process of orders, and with it the relay.
    workers.kill("orders")
    workers.start("orders")
    wait_for(lambda: is_settled(database), 150, workers.logs)
    log = backend.event_log

    def emitted() -> Counter[tuple[str | None, str]]:
        entries = (e for domain in log.domains() for e in log.read(domain, count=10_000))
        events = [decode(entry.body or b"") for entry in entries]
        # The event of a timer has its key as the subject too.
        return Counter((event.subject, event.type) for event in events)

    expected = Counter((f"order/{n}", type) for n in range(1, ORDERS + 1) for type in events_of(n))
    wait_for(lambda: emitted().total() >= expected.total(), 30, workers.logs)
    assert emitted() == expected
    check_instances(database)
    aborted = len(DECLINED) + len(SOLD_OUT) + len(DAMAGED) + 1
    assert payments.counts() == {
        "done": ORDERS - aborted,
        "undone": len(SOLD_OUT) + len(DAMAGED),
        "cancelled": len(DECLINED) + 1,
    }
    assert reservations.counts() == {
        "done": ORDERS - aborted,
        "undone": len(DAMAGED),
        "cancelled": len(SOLD_OUT),
    }
    database.close()


def place(orders: int, environment: dict[str, str]) -> None:
    """Place orders as the task of the shop does."""
    script = (
        "from tasks.checkout import place_order\n"
        f"for number in range(1, {orders} + 1): place_order(number)"
    )
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, check=True)


def is_settled(database: Database) -> bool:
    number = {count.status: count.number for count in counts(database)}
    ended = number.get(Status.COMPLETED, 0) + number.get(Status.ABORTED, 0)
    return ended == ORDERS and not outbox_status(database).waiting


def check_instances(database: Database) -> None:
    """Each order has one instance, whose steps each handled another event."""
    found = instances(database, status=None, limit=1000)
    assert sorted(row.key for row in found) == sorted(f"order/{n}" for n in range(1, ORDERS + 1))
    for row in found:
        stored = history(database, row.handler, row.key)
        assert stored is not None
        assert [step.seq for step in stored.steps] == list(range(1, len(stored.steps) + 1))
        assert len({step.event_id for step in stored.steps}) == len(stored.steps)
    reasons = Counter(row.reason for row in found if row.status is Status.ABORTED)
    assert reasons == {
        "payment declined: insufficient funds": len(DECLINED),
        "item unavailable: sold out": len(SOLD_OUT),
        "item unavailable: damaged": len(DAMAGED),
        "not paid in time": 1,
    }


def wait_for(holds: Callable[[], bool], seconds: float, logs: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, logs()
        time.sleep(0.1)
