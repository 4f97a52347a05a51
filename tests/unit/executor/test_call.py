"""Running what a handler returns to its end: coroutines, and whatever else can be awaited."""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from celeriac import Event
from celeriac.delivery import DeliveryState
from celeriac.executor import call
from tests.unit.executor.conftest import Bench
from tests.unit.test_fork import in_child


def test_the_child_of_a_fork_runs_coroutines_in_a_loop_of_its_own() -> None:
    inherited = call._runner().get_loop()

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def has_its_own() -> bool:
        own = call._runner().run(running())
        return own is not inherited and not inherited.is_closed()

    assert in_child(has_its_own)
    assert inherited is call._runner().run(running()), "the parent keeps its loop"


async def work(done: list[str], error: Exception | None) -> None:
    await asyncio.sleep(0)
    if error is not None:
        raise error
    done.append("done")


class Awaitable:
    """As clients of other libraries return it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __await__(self) -> Generator[Any, None, None]:
        return work(*self.arguments).__await__()


@types.coroutine
def generator(*arguments: Any) -> Generator[Any, None, None]:
    yield from work(*arguments).__await__()


AWAITABLES = [work, Awaitable, generator]


@pytest.mark.parametrize("make", AWAITABLES)
def test_an_awaitable_is_awaited_before_the_event_counts_as_processed(
    bench: Bench, make: Callable[..., Any]
) -> None:
    """A decorator may hide that the function is a coroutine, or return something else."""
    done: list[str] = []
    bench.subscribe(lambda event: make(done, None))
    bench.emit("a")
    bench.execute()
    assert (done, bench.place("a")) == (["done"], DeliveryState.PROCESSED)


@pytest.mark.parametrize("make", AWAITABLES)
def test_an_awaitable_that_fails_is_a_failed_attempt(
    bench: Bench, make: Callable[..., Any]
) -> None:
    bench.subscribe(lambda event: make([], ValueError("no")), retries=0)
    bench.emit("a")
    bench.execute()
    assert bench.place("a") == DeliveryState.DEAD


@pytest.mark.parametrize(
    ("error", "place"), [(None, DeliveryState.PROCESSED), (ValueError("no"), DeliveryState.DEAD)]
)
def test_a_task_of_a_loop_that_does_not_run_is_run_in_it(
    bench: Bench, error: Exception | None, place: DeliveryState
) -> None:
    loop = asyncio.new_event_loop()
    bench.subscribe(lambda event: loop.create_task(work([], error)), retries=0)
    bench.emit("a")
    bench.execute()
    loop.close()
    assert bench.place("a") == place


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, as apps have it that mix both."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize(
    ("error", "place"), [(None, DeliveryState.PROCESSED), (ValueError("no"), DeliveryState.DEAD)]
)
def test_a_task_of_a_loop_that_runs_in_another_thread_is_waited_for(
    bench: Bench, error: Exception | None, place: DeliveryState
) -> None:
    with running_loop() as loop:

        def handle(event: Event) -> asyncio.Task[None]:
            begun: list[asyncio.Task[None]] = []
            is_begun = threading.Event()

            def begin() -> None:
                begun.append(loop.create_task(work([], error)))
                is_begun.set()

            loop.call_soon_threadsafe(begin)
            is_begun.wait()
            return begun[0]

        bench.subscribe(handle, retries=0)
        bench.emit("a")
        bench.execute()
    assert bench.place("a") == place


def yields(event: Event) -> Iterator[int]:
    yield 1


async def yields_async(event: Event) -> Any:
    yield 1


@pytest.mark.parametrize("function", [yields, yields_async])
def test_a_generator_of_anything_but_events_is_a_failed_attempt(
    bench: Bench, function: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    bench.subscribe(lambda event: function(event), retries=0)
    bench.emit("a")
    bench.execute()
    assert bench.place("a") == DeliveryState.DEAD
    assert "billing.handle yielded int: must be Emit or Reply" in caplog.text


@pytest.mark.parametrize("answer", [None, 1, "text", [1], iter([1])])
def test_any_other_answer_is_ignored(bench: Bench, answer: Any) -> None:
    bench.subscribe(lambda event: answer)
    bench.emit("a")
    bench.execute()
    assert bench.place("a") == DeliveryState.PROCESSED
