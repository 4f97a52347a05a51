"""Shadow mode with callers and workers in processes of their own: compare, then move."""

from __future__ import annotations

import subprocess
import sys

import pytest
import redis

from celeriac import in_share
from tests.e2e.conftest import APP, Deployment

pytestmark = pytest.mark.e2e

TASK, HANDLER = "billing.charge_task", "billing.charge_card"


def call(deployment: Deployment, orders: range, moved: str = "0") -> dict[int, str]:
    """Call the task in a process of its own; return the id of each call by order."""
    numbers = f"range({orders.start}, {orders.stop})"
    code = f"import shadowed\nfor n in {numbers}: print(n, shadowed.charge.delay(n).id)"
    env = {**deployment.environment, "CHARGE_MOVED": moved}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=APP, env=env, capture_output=True, text=True, timeout=60
    )
    assert 0 == done.returncode, done.stderr
    return {int(order): id for order, id in map(str.split, done.stdout.splitlines())}


def states(deployment: Deployment, id: str) -> dict[str, str]:
    cells = deployment.matrix.status(id).cells
    return {cell.handler: cell.state.value for cell in cells}


def orders(deployment: Deployment, done: str) -> list[int]:
    return sorted(map(int, deployment.effects.lrange(done, 0, -1)))


@pytest.fixture
def worker(deployment: Deployment) -> None:
    deployment.worker(app="shadowed", processes=2)


def test_each_call_is_next_to_its_handler_with_the_outcome_of_the_task(
    deployment: Deployment, worker: None
) -> None:
    ids = call(deployment, range(1, 5))
    deployment.until(
        lambda: all(states(deployment, ids[n])[TASK] == "processed" for n in (1, 2)), what="tasks"
    )
    deployment.until(lambda: states(deployment, ids[3])[TASK] == "dead", what="the failed task")
    # The task of order 4 still runs: the handler that watches it is not done, either.
    deployment.until(lambda: states(deployment, ids[4])[TASK] == "scheduled", what="the slow task")
    deployment.until(
        lambda: {states(deployment, id)[HANDLER] for id in ids.values()} == {"processed"},
        what="the handler",
    )
    deployment.effects.set("let go", 1)
    deployment.until(lambda: states(deployment, ids[4])[TASK] == "processed", what="the slow task")
    assert [1, 2, 4] == orders(deployment, "charged by task")
    assert [1, 2, 3, 4] == orders(deployment, "compared by handler")
    assert [] == orders(deployment, "charged by handler")
    [letter] = deployment.bus.service.backend.deliveries.dead("charge")
    assert (ids[3], TASK) == (letter.event_id, letter.handler)
    assert "the task ended as FAILURE: ValueError" in letter.error
    assert "4111" not in letter.error


def test_moved_calls_are_done_by_the_handler_and_each_call_once(
    deployment: Deployment, worker: None
) -> None:
    """Also while old callers move nothing. The worker is killed when the calls are done."""
    moved = [n for n in range(10, 30) if in_share(f"order/{n}", 0.5)]
    assert 0 < len(moved) < 20
    ids = call(deployment, range(10, 30), moved="0.5")
    ids |= call(deployment, range(30, 35))
    results = redis.Redis.from_url(deployment.server.url.removesuffix("/0") + "/2")
    deployment.until(lambda: results.dbsize() == 25, what="the results of all tasks")
    deployment.until(
        lambda: {states(deployment, id)[HANDLER] for id in ids.values()} == {"processed"},
        what="the handler",
    )
    deployment.workers[0].kill()
    deployment.worker(app="shadowed", processes=2)
    deployment.until(
        lambda: {states(deployment, id)[TASK] for id in ids.values()} == {"processed"},
        what="the outcome of each call",
    )
    by_task = orders(deployment, "charged by task")
    by_handler = orders(deployment, "charged by handler")
    assert moved == by_handler
    assert list(range(10, 35)) == sorted(by_task + by_handler), "each exactly once"


def test_to_undo_the_move_only_the_callers_are_restarted(
    deployment: Deployment, worker: None
) -> None:
    call(deployment, range(10, 13), moved="1")
    call(deployment, range(13, 16), moved="0")
    deployment.until_settled()
    assert [10, 11, 12] == orders(deployment, "charged by handler")
    assert [13, 14, 15] == orders(deployment, "charged by task")
