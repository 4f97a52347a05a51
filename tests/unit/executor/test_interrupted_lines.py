"""Whatever line of the executor a time limit or Ctrl-C interrupts, no delivery is lost or stuck."""

from __future__ import annotations

import linecache
from pathlib import Path

import pytest

from celeriac import Event, EventBus, Reject, current_event, executor
from celeriac.delivery import FetchRequest
from celeriac.event import read_header
from celeriac.executor.lease import LeaseKeeper
from celeriac.testing.store import Store
from tests.unit.executor.test_chunk_executor import Bench
from tests.unit.store.redis.test_interrupted import interrupted_at

EXECUTOR = (str(Path(executor.__file__).parent),)
HOUR = 3_600_000  # ms


class SoftTimeLimit(Exception):
    """As Celery's signal handler raises it."""


def refuse_second(event: Event) -> None:
    if event.data == 1:
        raise Reject("not wanted")


def is_line(where: str, text: str) -> bool:
    file, _, line = where.rpartition(":")
    return linecache.getline(file, int(line)).strip() == text


def finish(bench: Bench) -> None:
    """Run what is left, as the dispatchers of later hours find it."""
    for _ in range(5):
        bench.store.clock.advance(HOUR)
        bench.chunks.reclaim([bench.group])
        deliveries = bench.store.deliveries
        [fetched] = deliveries.fetch(
            bench.bus.service.worker, [FetchRequest(bench.group, limit=100, reclaim=True)]
        )
        for one in fetched.deliveries:  # one that lost a run runs alone
            pair = one.entry, read_header(one.body or b"").key
            bench.executor.execute(bench.handler, "order", [pair])


@pytest.fixture(autouse=True)
def no_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the threads that renew leases end at once: there is one for each interrupted line."""
    monkeypatch.setattr(LeaseKeeper, "_run", lambda keeper: None)


@pytest.mark.parametrize("error", [SoftTimeLimit, KeyboardInterrupt])
def test_each_delivery_has_its_outcome_in_the_end(error: type[BaseException]) -> None:
    line = 0
    while True:
        bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")
        store = Store(bus.settings)
        with store.installed():
            bench = Bench(bus, store)
            bench.subscribe(refuse_second, retries=3)
            for n in range(3):
                bus.emit("order.placed", n)
            chunk, fetched = bench.fetch()
            with interrupted_at(line, EXECUTOR, error) as where:
                bench.executor.chunks.execute(bench.handler, "order", chunk, fetched.entries)
            if not where:
                break
            assert current_event() is None, where
            finish(bench)
            leases = bench.executor.process.leases
            assert len(set(bench.ran)) == 3, where
            assert (bench.pending(), bench.chunks.open_chunks(bench.group)) == ([], []), where
            assert len(store.deliveries.dead("order")) == 1, where
            # Python handles no signal before the one call of this line.
            if not is_line(where[0], "of_kind.pop(key, None)"):
                assert not leases._chunks and not leases._deliveries, where
        line += 1
    assert line > 100
