"""Requests to handlers in real workers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from celeriac import Event, EventBus, NoReply


@pytest.fixture
def answering(deployment: Any) -> Any:
    for service in ("prices", "rival"):
        deployment.worker(service=service, app="answering")
        deployment.joined(f"{service}.quote", "price")
        deployment.joined(f"{service}.build", "report")
    return deployment


def test_replies_come_from_several_services_to_threads_and_coroutines(answering: Any) -> None:
    bus: EventBus = answering.bus
    reply = bus.request("price.asked", {"n": 1}, timeout=20, handlers=["prices.quote"])
    assert reply.data == {"service": "prices", "n": 1}
    both = bus.request("price.asked", {"n": 2}, replies=2, timeout=20)
    assert {one.data["service"] for one in both} == {"prices", "rival"}

    async def ask(n: int) -> list[Event[Any]]:
        return await bus.arequest("price.asked", {"n": n}, replies=2, timeout=30)

    async def ask_many() -> list[list[Event[Any]]]:
        found = await asyncio.gather(*(ask(n) for n in range(50)))
        await bus.aclose()
        return found

    for n, replies in enumerate(asyncio.run(ask_many())):
        assert [one.data["n"] for one in replies] == [n, n]
    answering.until_settled()
    assert answering.missing() == 0
    assert not list(answering.bus.service.backend.event_log.client.scan_iter("*{reply:*"))


@pytest.mark.parametrize("task", ["ask", "ask_in_coroutine"])
def test_a_celery_task_requests(answering: Any, task: str) -> None:
    from celery import Celery

    app = Celery(broker=answering.server.url.removesuffix("/0") + "/0")
    for n in range(4):
        app.send_task(task, (n,), queue="prices")
    answering.until(lambda: answering.effects.llen("answers") == 4, what="all answers")
    assert sorted(answering.effects.lrange("answers", 0, -1)) == ["0", "1", "2", "3"]
    app.close()


def test_a_handler_that_dies_replies_in_its_next_run(answering: Any) -> None:
    reply = answering.bus.request(
        "report.asked", {"seconds": 0}, timeout=60, handlers=["prices.build"]
    )
    assert reply.data == "built"
    assert answering.effects.hvals("runs") == ["2"]


def test_a_late_reply_is_in_the_event_log(answering: Any) -> None:
    bus: EventBus = answering.bus
    with pytest.raises(NoReply):
        bus.request("report.asked", {"seconds": 3}, timeout=1, handlers=["prices.build"])
    log = bus.service.backend.event_log
    answering.until(lambda: log.length("report") == 2, what="the late reply")
    late = msgspec.json.decode(log.read("report")[-1].body or b"")
    assert (late["type"], late["data"], late["late"]) == ("report.asked.replied", "built", True)
    answering.until(
        lambda: "only in the event log" in answering.workers[0].said(), what="the warning"
    )
