"""`celeriac handlers` lists broadcast handlers with their live instances."""

from __future__ import annotations

from celeriac.store.memory.clock import MemoryClock
from tests.unit.cli.conftest import Run
from tests.unit.registry.test_broadcasts import EACH, worker
from tests.unit.tracking.shop import Shop


def test_they_are_listed_while_a_worker_lives(run: Run, shop: Shop, clock: MemoryClock) -> None:
    shop.backend.registry.heartbeat(worker("one", 4, clear=EACH))
    lines = run("handlers").out.splitlines()
    [line] = [line for line in lines if "shop.clear" in line]
    assert "cache.#" in line
    assert "broadcast=process" in run("handlers").out and "instances=4" in run("handlers").out
    [found] = [one for one in run("handlers", "--json").json if "broadcast" in one]
    assert found == {
        "id": "shop.clear", "service": "shop", "patterns": ["cache.#"], "broadcast": "process",
        "workers": ["one"], "instances": 4,
    }  # fmt: skip
    clock.advance(60_000)
    assert "shop.clear" not in run("handlers").out
