"""Requests to real workers from an ASGI application, as FastAPI and Starlette run it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from celeriac import EventBus, NoReply

Send = Callable[[dict[str, Any]], Awaitable[None]]
LATE = 4.0  # seconds


@pytest.fixture
def answering(deployment: Any) -> Any:
    deployment.worker(service="prices", app="answering")
    deployment.joined("prices.quote", "price")
    deployment.joined("prices.build", "report")
    return deployment


def application(bus: EventBus) -> Any:
    """Return an application that asks for `/price/N`, and for a report that is late."""

    async def app(scope: dict[str, Any], receive: Any, send: Send) -> None:
        kind, _, number = scope["path"].strip("/").partition("/")
        try:
            if kind == "price":
                reply = await bus.arequest("price.asked", {"n": int(number)}, timeout=30)
            else:
                reply = await bus.arequest("report.asked", {"seconds": 20}, timeout=LATE)
            status, answer = 200, reply.data
        except NoReply as error:
            status, answer = 504, error.event_id
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return app


async def longest_pause(stopped: asyncio.Event) -> float:
    """Return the longest time for which the event loop ran nothing else."""
    loop, longest = asyncio.get_running_loop(), 0.0
    while not stopped.is_set():
        begun = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - begun - 0.01)
    return longest


def test_each_http_request_gets_its_own_reply_and_the_loop_runs_on(answering: Any) -> None:
    bus: EventBus = answering.bus

    async def serve() -> tuple[list[httpx.Response], float]:
        transport = httpx.ASGITransport(app=application(bus))
        stopped = asyncio.Event()
        pause = asyncio.create_task(longest_pause(stopped))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            late = asyncio.create_task(client.get("/report"))
            prices = await asyncio.gather(*(client.get(f"/price/{n}") for n in range(30)))
            found = [*prices, await late]
        stopped.set()
        await bus.aclose()
        return found, await pause

    responses, pause = asyncio.run(serve())
    assert [response.json()["n"] for response in responses[:-1]] == list(range(30))
    assert responses[-1].status_code == 504
    assert responses[-1].json()  # the id of the request, for `celeriac status`
    # A blocking wait would last as long as that for the late report. A loaded machine, too, may run
    # nothing of the loop for a while.
    assert pause < LATE / 2


def test_a_request_that_is_cancelled_leaves_no_mailbox(answering: Any) -> None:
    """As when the client of an HTTP request goes away."""
    bus: EventBus = answering.bus

    async def ask_and_leave() -> None:
        task = asyncio.create_task(bus.arequest("report.asked", {"seconds": 5}, timeout=60))
        client = bus.service.backend.event_log.client  # type: ignore[attr-defined]
        while not await asyncio.to_thread(lambda: list(client.scan_iter("*{reply:*"))):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await bus.aclose()

    asyncio.run(ask_and_leave())
    client = bus.service.backend.event_log.client  # type: ignore[attr-defined]
    assert not list(client.scan_iter("*{reply:*"))
