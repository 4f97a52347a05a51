"""Credits: how many events are appended between two checks of the backlog."""

from __future__ import annotations

import asyncio

import pytest

from celeriac import EventBus
from celeriac.errors import LogFull
from celeriac.event_log.backpressure import (
    CREDIT_LIFETIME,
    FREE_SPACE_PARTS,
    MAX_CREDIT,
    CreditLimiter,
)
from celeriac.settings import Settings
from celeriac.store.redis.bounded_event_log import BoundedRedisEventLog


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def spent(bound: CreditLimiter, domain: str = "order") -> int:
    count = 0
    while bound.use(domain):
        count += 1
    return count


@pytest.mark.parametrize(
    ("backlog", "credit"),
    [(0, MAX_CREDIT), (100_000 - 160, 10), (99_999, 1), (100_000, 0), (200_000, 0)],
)
def test_a_credit_is_a_share_of_the_room(backlog: int, credit: int) -> None:
    bound = CreditLimiter(100_000)
    assert bound.refill("order", backlog) == (credit > 0)
    assert spent(bound) == credit


def test_so_many_processes_together_do_not_pass_the_bound() -> None:
    processes = [CreditLimiter(1600) for _ in range(FREE_SPACE_PARTS)]
    for one in processes:
        one.refill("order", 1600 - 320)
    assert sum(spent(one) for one in processes) <= 320


def test_a_credit_is_void_after_its_time() -> None:
    clock = Clock()
    bound = CreditLimiter(1000, clock)
    bound.refill("order", 0)
    assert bound.use("order")
    clock.now += CREDIT_LIFETIME
    assert not bound.use("order")
    assert bound.had_spare("order")


def test_a_domain_that_was_never_checked_has_no_credit() -> None:
    bound = CreditLimiter(1000)
    assert not bound.use("order")
    assert not bound.had_spare("order")


def test_the_usual_emit_is_one_command(redis_url: str, namespace: str) -> None:
    """Few of a thousand emits check the backlog, in the same round trip."""
    settings = Settings.load({}, redis_url=redis_url, namespace=namespace, max_backlog=100_000)
    event_log = BoundedRedisEventLog(settings)
    event_log.append("order", b"{}")
    before = event_log.client.info("commandstats")
    for _ in range(1000):
        event_log.append("order", b"{}")
    after = event_log.client.info("commandstats")

    def calls(name: str) -> int:
        key = f"cmdstat_{name}"
        return int(after[key]["calls"]) - int(before[key]["calls"])

    assert calls("xadd") == 1000
    assert calls("evalsha") <= 20


def test_two_processes_overshoot_by_no_more_than_their_credits(
    redis_url: str, namespace: str
) -> None:
    settings = Settings.load(
        {}, redis_url=redis_url, namespace=namespace, max_backlog=500, log_full="raise"
    )
    logs = [BoundedRedisEventLog(settings) for _ in range(4)]
    logs[0].join("order", "billing.charge", "0")
    open_logs = list(logs)
    while open_logs:
        for event_log in list(open_logs):
            try:
                event_log.append("order", b"{}")
            except LogFull:
                open_logs.remove(event_log)
    assert 500 <= logs[0].length("order") <= 500 + len(logs) * 2


def test_coroutines_are_refused_and_wait_as_well(redis_url: str, namespace: str) -> None:
    bus = EventBus(
        service="billing", redis_url=redis_url, namespace=namespace, max_backlog=50,
        log_full="raise", emit_timeout=5,
    )  # fmt: skip
    bus.service.backend.event_log.join("order", "billing.charge", "0")

    async def emit() -> int:
        try:
            with pytest.raises(LogFull) as caught:
                await bus.aemit_many([("order.placed", {"n": n}) for n in range(80)])
            with pytest.raises(LogFull):
                await bus.aemit("order.placed")
            with pytest.raises(LogFull):
                await bus.aemit("order.placed", delay=60)
            return caught.value.emitted
        finally:
            await bus.aclose()

    assert asyncio.run(emit()) == 50 == bus.service.backend.event_log.length("order")


def test_emit_many_returns_how_many_were_accepted(redis_url: str, namespace: str) -> None:
    """An endless iterable is stopped by `max_backlog`, before memory is full."""
    bus = EventBus(
        service="billing", redis_url=redis_url, namespace=namespace, max_backlog=2000,
        log_full="raise",
    )  # fmt: skip
    bus.service.backend.event_log.join("order", "billing.charge", "0")
    with pytest.raises(LogFull) as caught:
        bus.emit_many(("order.placed", {}) for _ in iter(int, 1))
    assert caught.value.emitted == 2000
