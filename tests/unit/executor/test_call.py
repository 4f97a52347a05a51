"""Running what a handler returns to its end: coroutines, and whatever else can be awaited."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import types
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from gevent import monkey

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


class Returned:
    """Notes what is emitted, and how replies are sent."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def emit(self, answer: Any) -> None:
        self.calls.append(answer)

    def send_replies(self, *, is_committed: bool) -> None:
        self.calls.append(is_committed)


async def answers() -> str:
    return "later"


@pytest.mark.parametrize(
    ("answer", "has_receiver", "calls"),
    [
        (lambda: None, False, []),
        (lambda: None, True, [True]),
        (lambda: "at once", False, ["at once", False]),
        (lambda: "at once", True, ["at once", True]),
        (answers, False, ["later", False]),
    ],
)
def test_what_a_function_returns_is_emitted_and_replies_are_sent(
    answer: Callable[[], Any], has_receiver: bool, calls: list[Any]
) -> None:
    """A receiver has committed the replies, also those of a function that returned nothing."""
    returned = Returned()
    handler: Any = SimpleNamespace(
        id="billing.h",
        receiver=(lambda event: answer()) if has_receiver else None,
        function=lambda event: answer(),
        returned=returned,
    )
    call.call(handler, None)
    assert returned.calls == calls
    handler.returned = None
    call.call(handler, None)


def test_nothing_is_awaited_of_nothing() -> None:
    assert call.run_awaitable(None) is None
    assert call.run_awaitable(answers()) == "later"


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """What belongs to a new thread."""
    local = SimpleNamespace()
    monkeypatch.setattr(call, "_local", local)
    yield local
    local.runner[1].close()


def test_a_thread_keeps_its_loop_and_closes_it_at_exit(
    local: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[tuple[Any, ...]] = []
    atexit = SimpleNamespace(register=lambda *action: registered.append(action))
    monkeypatch.setattr(call, "atexit", atexit)
    runner = call._runner()
    assert call._runner() is runner
    assert registered == [(call._close_own, os.getpid(), runner)]
    assert local.runner == (os.getpid(), runner)


def test_a_loop_of_the_parent_is_left_to_it(
    local: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Any] = []
    inherited = local.runner = (os.getpid() + 1, object())
    monkeypatch.setattr(call, "leave_to_parent", left.append)
    assert call._runner() is not inherited[1]
    assert left == [inherited]
    assert local.runner[0] == os.getpid()


@pytest.mark.parametrize(("is_other", "is_closed"), [(0, True), (1, False)])
def test_a_loop_is_closed_only_by_its_process(is_other: int, is_closed: bool) -> None:
    closed: list[int] = []
    runner: Any = SimpleNamespace(close=lambda: closed.append(1))
    call._close_own(os.getpid() + is_other, runner)
    assert bool(closed) == is_closed


@pytest.mark.parametrize("gevent", [None, SimpleNamespace(monkey=monkey)])
def test_without_patches_of_gevent_there_is_no_greenlet(
    monkeypatch: pytest.MonkeyPatch, gevent: Any
) -> None:
    """Whether gevent is installed or not."""
    monkeypatch.setitem(sys.modules, "gevent", gevent)
    assert call.in_gevent() is False
