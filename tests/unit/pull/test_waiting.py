"""Waiting for deliveries: a request answers as soon as there is one, and loses none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import pytest

from celeriac.pull import fetching
from celeriac.pull.async_pull_handlers import AsyncPullHandlers
from celeriac.pull.pulled import AnswerBudget, PulledDelivery
from celeriac.pull.refusal import UnknownHandler
from tests.unit.pull.conftest import INDEX, PullBus, ids_of
from tests.unit.store.redis.test_cancelled_sending import cancel_repeatedly

SOON = 15.0  # seconds; a request that is not woken takes LONG
LONG = 20.0


async def here() -> bool:
    return False


async def gone() -> bool:
    return True


Run = Callable[[Callable[[AsyncPullHandlers], Coroutine[Any, Any, None]]], float]


@pytest.fixture(autouse=True)
def polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request polls again when it is woken or a delivery is due, and not after two seconds."""
    monkeypatch.setattr(fetching, "AnswerBudget", partial(AnswerBudget, next_poll=LONG))


@pytest.fixture
def run(pull: PullBus) -> Run:
    """Run a coroutine with handlers of one process; return the seconds that it took."""

    def run(main: Callable[[AsyncPullHandlers], Coroutine[Any, Any, None]]) -> float:
        handlers = AsyncPullHandlers(pull.bus("gateway").service)
        began = time.monotonic()
        try:
            asyncio.run(main(handlers))
        finally:
            took = time.monotonic() - began
            handlers.close()
        return took

    return run


async def until_waiting(handlers: AsyncPullHandlers, count: int) -> None:
    """Return when so many requests wait and the thread has seen their streams."""
    while handlers.wakeups.waiting < count or not handlers.wakeups._wanted_until:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)


def given(deliveries: Sequence[PulledDelivery]) -> list[str]:
    return ids_of(list(deliveries))


def test_a_request_that_does_not_wait_answers_at_once(pull: PullBus, run: Run) -> None:
    pull.register()

    async def main(handlers: AsyncPullHandlers) -> None:
        assert await handlers.fetch(INDEX, 10, 0, here) == ()

    assert run(main) < SOON


def test_a_waiting_request_answers_nothing_after_its_time(pull: PullBus, run: Run) -> None:
    pull.register()

    async def main(handlers: AsyncPullHandlers) -> None:
        assert await handlers.fetch(INDEX, 10, 0.4, here) == ()

    assert 0.4 <= run(main) < SOON


def test_an_event_wakes_a_waiting_request(pull: PullBus, run: Run) -> None:
    pull.register()

    async def main(handlers: AsyncPullHandlers) -> None:
        request = asyncio.create_task(handlers.fetch(INDEX, 10, LONG, here))
        await until_waiting(handlers, 1)
        id = await asyncio.to_thread(pull.emit)
        assert given(await request) == [id]

    assert run(main) < SOON


def test_each_of_several_waiting_requests_gets_one_of_as_many_events(
    pull: PullBus, run: Run
) -> None:
    pull.register()

    async def main(handlers: AsyncPullHandlers) -> None:
        requests = [asyncio.create_task(handlers.fetch(INDEX, 1, LONG, here)) for _ in range(5)]
        await until_waiting(handlers, 5)
        emitted = [await asyncio.to_thread(pull.emit) for _ in range(5)]
        answers = await asyncio.gather(*requests)
        assert sorted(given([d for answer in answers for d in answer])) == sorted(emitted)
        assert all(len(answer) == 1 for answer in answers)

    assert run(main) < SOON


def test_a_retry_wakes_a_waiting_request(pull: PullBus, run: Run) -> None:
    pull.register(backoff=0.3, jitter=0)
    id = pull.emit()
    pull.complete(pull.fetch()[0], "failed")

    async def main(handlers: AsyncPullHandlers) -> None:
        [delivery] = await handlers.fetch(INDEX, 10, LONG, here)
        assert (given([delivery]), delivery.attempt) == ([id], 2)

    if pull.kind == "memory":
        pull.pass_time(0.3)
    assert run(main) < SOON


def test_deliveries_of_a_client_that_is_gone_are_requeued(pull: PullBus, run: Run) -> None:
    pull.register()
    id = pull.emit()

    async def main(handlers: AsyncPullHandlers) -> None:
        assert await handlers.fetch(INDEX, 10, LONG, gone) == ()
        [delivery] = await handlers.fetch(INDEX, 10, 0, here)
        assert (given([delivery]), delivery.attempt) == ([id], 1)

    assert run(main) < SOON


def test_a_client_that_is_gone_ends_its_wait(pull: PullBus, run: Run) -> None:
    pull.register()

    async def main(handlers: AsyncPullHandlers) -> None:
        assert await handlers.fetch(INDEX, 10, LONG, gone) == ()

    assert run(main) < SOON


def test_a_cancelled_request_requeues_what_it_fetched(pull: PullBus, run: Run) -> None:
    pull.register()
    id = pull.emit()

    async def main(handlers: AsyncPullHandlers) -> None:
        request = asyncio.create_task(handlers.fetch(INDEX, 10, LONG, here))
        await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        [delivery] = await handlers.fetch(INDEX, 10, 1, here)
        assert (given([delivery]), delivery.attempt) == ([id], 1)

    run(main)


def test_a_request_that_is_cancelled_again_and_again_requeues_what_it_fetched(
    pull: PullBus, run: Run
) -> None:
    """As by a cancel scope of anyio, at any of its steps."""
    pull.register()
    id = pull.emit()

    async def main(handlers: AsyncPullHandlers) -> None:
        for step in range(10):
            fetched = asyncio.Event()

            async def is_gone(fetched: asyncio.Event = fetched) -> bool:
                fetched.set()
                await asyncio.sleep(60)
                return False

            request = asyncio.create_task(handlers.fetch(INDEX, 10, LONG, is_gone))
            if step % 2:
                await fetched.wait()
            for _ in range(step // 2):
                await asyncio.sleep(0)
            await cancel_repeatedly(request)
            while len(asyncio.all_tasks()) > 1:  # those that clean up
                await asyncio.sleep(0)
        [delivery] = await handlers.fetch(INDEX, 10, 0, here)
        assert (given([delivery]), delivery.attempt) == ([id], 1)

    run(main)


def test_a_refused_request_does_not_wait(pull: PullBus, run: Run) -> None:
    async def main(handlers: AsyncPullHandlers) -> None:
        with pytest.raises(UnknownHandler):
            await handlers.fetch(INDEX, 10, LONG, here)
        assert handlers.wakeups.waiting == 0

    assert run(main) < SOON


def test_a_fetching_process_is_a_worker_of_the_service_until_it_ends(
    pull: PullBus, run: Run
) -> None:
    pull.register()

    async def main(handlers: AsyncPullHandlers) -> None:
        request = asyncio.create_task(handlers.fetch(INDEX, 10, 2, here))
        while not pull.backend.registry.workers():
            await asyncio.sleep(0.01)
        [worker] = pull.backend.registry.workers()
        assert (worker.service, worker.handlers, worker.pool) == ("search", (INDEX,), "pull")
        await asyncio.to_thread(pull.emit)
        [delivery] = await request
        pending = pull.backend.deliveries.pending(pull.group(), delivery.reference.entry)
        assert pending is not None
        assert pending.owner == f"running:{worker.name}"

    run(main)
    assert pull.backend.registry.workers() == []


def test_delayed_events_come_without_any_celery_worker(pull: PullBus, run: Run) -> None:
    pull.register()

    async def main(handlers: AsyncPullHandlers) -> None:
        request = asyncio.create_task(handlers.fetch(INDEX, 10, LONG, here))
        await until_waiting(handlers, 1)
        id = await asyncio.to_thread(pull.emit, delay=0.5)
        if pull.kind == "memory":
            pull.pass_time(1)
        assert given(await request) == [id]

    assert run(main) < SOON


def test_a_gateway_that_stops_answers_waiting_requests(pull: PullBus, run: Run) -> None:
    pull.register()

    async def main(handlers: AsyncPullHandlers) -> None:
        waiting = [asyncio.create_task(handlers.fetch(INDEX, 1, LONG, here)) for _ in range(3)]
        await until_waiting(handlers, 3)
        handlers.stop_waiting()
        assert await asyncio.gather(*waiting) == [()] * 3
        assert list(await handlers.fetch(INDEX, 1, LONG, here)) == []

    assert run(main) < LONG
