"""A soft time limit interrupts a coroutine handler: its rest does not run during later attempts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.executor import call
from tests.unit.executor.test_call import running_loop


class SoftTimeLimit(Exception):
    """As Celery's signal handler raises it in the main thread."""


class Waiting:
    """A handler that waits until it is cancelled."""

    def __init__(self) -> None:
        self.waits, self.ended = threading.Event(), threading.Event()

    async def __call__(self, _: Any = None) -> None:
        try:
            self.waits.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            self.ended.set()


@pytest.fixture
def handler() -> Waiting:
    return Waiting()


def interrupt(loop: Any, handler: Waiting) -> None:
    """Raise SoftTimeLimit when the loop has nothing to do while the handler waits."""
    select = loop._selector.select

    def interrupted(timeout: float | None) -> Any:
        if handler.waits.is_set() and timeout != 0:
            handler.waits.clear()
            raise SoftTimeLimit
        return select(timeout)

    loop._selector.select = interrupted


def run(function: Callable[[Any], Any]) -> None:
    named: Any = SimpleNamespace(receiver=None, returned=None, function=function, id="billing.wait")
    with pytest.raises(SoftTimeLimit):
        call.call(named, None)


def test_a_coroutine_ends_before_the_attempt_does(handler: Waiting) -> None:
    loop: Any = call._runner().get_loop()
    before = asyncio.all_tasks(loop)  # earlier tests use it too
    interrupt(loop, handler)
    run(handler)
    del loop._selector.select
    assert handler.ended.is_set()
    assert asyncio.all_tasks(loop) <= before


def test_a_task_of_a_loop_that_does_not_run_ends_too(handler: Waiting) -> None:
    loop = asyncio.new_event_loop()
    interrupt(loop, handler)
    run(lambda _: loop.create_task(handler()))
    assert handler.ended.is_set()
    loop.close()


def test_a_task_of_a_loop_in_another_thread_is_cancelled(
    handler: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, interrupted_thread = Future.result, threading.get_ident()

    def interrupted(future: Future[Any], timeout: float | None = None) -> Any:
        if threading.get_ident() != interrupted_thread:
            return result(future, timeout)
        handler.waits.wait()
        raise SoftTimeLimit

    with running_loop() as loop:

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(handler())

        task = asyncio.run_coroutine_threadsafe(begin(), loop).result()
        monkeypatch.setattr(Future, "result", interrupted)
        run(lambda _: task)
        assert handler.ended.wait(20)
