"""Leaving a master that Sentinels replaced, on pools that get the master's address."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from celeriac import EventBus
from celeriac.worker.celery_fixes.old_master import OldMaster, OldMasterStep, is_followed

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)
URL = "redis+sentinel://10.0.0.3:26379/mymaster/0"


class Pool:
    """As redis-py's: a new address closes the idle connections."""

    def __init__(self, at: tuple[str, int] | None, named: tuple[str, int] | None) -> None:
        self.master_address, self.named, self.asked, self.closed = at, named, 0, 0

    def get_master_address(self) -> tuple[str, int]:
        self.asked += 1
        if self.named is None:
            raise redis.ConnectionError("no Sentinel answers")
        self.master_address = self.named
        return self.named

    def disconnect(self) -> None:
        self.closed += 1


def channel(*pools: Pool) -> Any:
    return SimpleNamespace(pool=pools[0], async_pool=pools[1])


def old_master(address: tuple[str, int] | None = NEW) -> OldMaster:
    event_log = SimpleNamespace(client=SimpleNamespace(connection_pool=Pool(address, address)))
    return OldMaster(cast("Any", SimpleNamespace(backend=SimpleNamespace(event_log=event_log))))


def test_connections_to_another_master_are_closed_once_the_sentinels_name_the_new_one() -> None:
    idle, used = Pool(OLD, NEW), Pool(OLD, NEW)
    old_master().leave(channel(idle, used), in_use=True)
    assert [(NEW, 1), (NEW, 1)] == [(one.master_address, one.closed) for one in (idle, used)]
    old_master().leave(channel(idle, used), in_use=True)
    assert (1, 1) == (idle.asked, used.asked)


@pytest.mark.parametrize("named", [OLD, None])
def test_a_connection_is_kept_while_the_sentinels_name_no_other_master(named: Any) -> None:
    pool = Pool(OLD, named)
    old_master().leave(channel(pool, pool), in_use=True)
    assert 0 == pool.closed


def test_a_producer_keeps_what_another_thread_uses() -> None:
    pool = Pool(OLD, NEW)
    old_master().leave(channel(pool, Pool(None, NEW)))
    assert (1, 0) == (pool.asked, pool.closed)


def test_a_server_that_never_connected_is_not_used() -> None:
    pool = Pool(None, NEW)
    old_master().leave(channel(pool, pool), in_use=True)
    old_master(None).leave(channel(Pool(OLD, NEW), pool), in_use=True)
    assert 0 == pool.asked


def test_only_the_bus_own_broker_is_followed() -> None:
    assert is_followed(EventBus(service="billing", redis_url=URL).service.settings)
    other = EventBus(service="billing", redis_url=URL, broker_url="redis://10.0.0.9:6379/0")
    assert not is_followed(other.service.settings)
    plain = EventBus(service="billing", redis_url="redis://10.0.0.9:6379/0")
    assert not is_followed(plain.service.settings)


def test_a_worker_looks_at_the_connections_of_its_consumer_and_its_task_events() -> None:
    pools = [Pool(OLD, NEW) for _ in range(3)]
    connections = [
        SimpleNamespace(connected=True, transport=SimpleNamespace(channels=[channel(pool, pool)]))
        for pool in pools
    ]
    connections[2].connected = False
    calls: list[Any] = []

    def call_repeatedly(seconds: float, look: Any) -> Any:
        calls.append(look)
        return SimpleNamespace(cancel=calls.clear)

    consumer = SimpleNamespace(
        timer=SimpleNamespace(call_repeatedly=call_repeatedly),
        connection=connections[0],
        event_dispatcher=SimpleNamespace(connection=connections[1]),
    )
    step = OldMasterStep(consumer)
    step.old_master = old_master()
    step.start(consumer)
    calls[0]()
    assert [1, 1, 0] == [pool.closed for pool in pools]
    consumer.event_dispatcher = SimpleNamespace(connection=connections[2])
    calls[0]()
    assert 0 == pools[2].asked
    step.stop(consumer)
    assert not calls
