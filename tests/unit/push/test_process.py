"""The event loop that sends the requests of a process."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from celeriac.push.connection import Target
from celeriac.push.process import SendingProcess, sending_process
from tests.http_endpoint import Answered, HttpEndpoint
from tests.unit.test_fork import in_child


def test_many_threads_wait_in_one_event_loop(endpoint: HttpEndpoint) -> None:
    endpoint.answer = lambda request: Answered(together=50)
    before = threading.enumerate()
    target = Target(httpx.URL(endpoint.url), 30)
    with ThreadPoolExecutor(50) as threads:
        answers = [threads.submit(sending_process().post, target, {}, b"") for _ in range(50)]
        assert {answer.result().status for answer in answers} == {200}
    assert endpoint.most_waiting == 50
    # An earlier test may have started the loop of this process, or of a SendingProcess of its own.
    loops = [thread for thread in threading.enumerate() if thread.name == "celeriac-push"]
    assert loops and len({*loops} - {*before}) <= 1


def test_a_forked_process_has_a_loop_and_connections_of_its_own(endpoint: HttpEndpoint) -> None:
    target = Target(httpx.URL(endpoint.url), 10)
    sending_process().post(target, {}, b"")
    assert in_child(lambda: sending_process().post(target, {}, b"").status == 200)
    assert endpoint.connections == 2
    sending_process().post(target, {}, b"")
    assert endpoint.connections == 2


def test_a_caller_in_a_running_event_loop_is_served(endpoint: HttpEndpoint) -> None:
    """As in a test of the application that is a coroutine."""
    target = Target(httpx.URL(endpoint.url), 10)

    async def main() -> int:
        return sending_process().post(target, {}, b"").status

    assert asyncio.run(main()) == 200


def test_an_exception_in_the_waiting_thread_cancels_the_request() -> None:
    """Such as a soft time limit."""
    process, cancelled, began = SendingProcess(), threading.Event(), threading.Event()

    class Interrupted(BaseException):
        pass

    async def request() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    class Interrupting:
        """The future of the request, whose waiting thread is interrupted."""

        def __init__(self, future: asyncio.Future[None]) -> None:
            self.future = future

        def result(self) -> None:
            began.wait(10)
            raise Interrupted

        def cancel(self) -> bool:
            return self.future.cancel()

    threadsafe = asyncio.run_coroutine_threadsafe
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "celeriac.loop_thread.asyncio.run_coroutine_threadsafe",
            lambda coroutine, loop: Interrupting(threadsafe(coroutine, loop)),  # type: ignore
        )
        with pytest.raises(Interrupted):
            process.run(request())
    assert cancelled.wait(10)
