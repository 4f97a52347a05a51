"""Pull handlers on a bus in memory, on a Redis and on a cluster, whose times tests can move."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.delivery import DeliveryState, Group
from celeriac.event import event_key
from celeriac.pull.completing import Completed
from celeriac.pull.pull_handlers import PullHandlers
from celeriac.pull.pulled import Pulled, PulledDelivery
from celeriac.pull.result import read_result
from celeriac.settings import Settings
from celeriac.store.factory import Backend, redis_backend
from celeriac.store.memory.registry import MemoryRegistry
from celeriac.store.redis.event_log import RedisEventLog
from celeriac.testing.store import Store
from tests.contract.store import times_in

INDEX = "search.index"
HOUR = 3600.0


class PullBus:
    """One bus, a producer `shop` on it, and the gateways that serve it."""

    kind: str

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend, self.settings = backend, settings
        self.now = 0.0
        self.shop = self.bus("shop")
        self.handlers = self.gateway()

    def bus(self, service: str) -> EventBus:
        bus = EventBus(
            service=service, redis_url=self.settings.redis_url, namespace=self.settings.namespace
        )
        bus.service.backend = self.backend
        return bus

    def gateway(self, **settings: Any) -> PullHandlers:
        """Another process that serves the same handlers."""
        service = self.bus("gateway").service
        for name, value in settings.items():
            object.__setattr__(service.settings, name, value)
        return PullHandlers(service, lambda: self.now)

    def lose_record(self, id: str) -> None:
        """The registry loses the record of a handler."""
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        """Leases end, and what is scheduled within that time is due."""
        self.now += seconds

    # -- shorthands

    def register(self, id: str = INDEX, *patterns: str, **options: Any) -> None:
        self.handlers.register(id, {"patterns": list(patterns or ("order.*",)), **options})

    def emit(self, type: str = "order.placed", data: Any = None, **attributes: Any) -> str:
        return self.shop.emit(type, data, **attributes)

    def append(self, domain: str, body: bytes) -> str:
        """Append any bytes, as a foreign producer can."""
        return self.backend.event_log.append(domain, body)

    def fetch(self, id: str = INDEX, limit: int = 10) -> list[PulledDelivery]:
        return list(self.fetched(id, limit).deliveries)

    def fetched(self, id: str = INDEX, limit: int = 10) -> Pulled:
        return self.handlers.fetch(id, limit)

    def complete(
        self,
        delivery: PulledDelivery,
        outcome: str = "processed",
        id: str = INDEX,
        *,
        handlers: PullHandlers | None = None,
        **more: Any,
    ) -> Completed:
        body = {"entry": str(delivery.reference), "attempt": delivery.attempt, "outcome": outcome}
        return (handlers or self.handlers).complete(id, read_result({**body, **more}))

    def state(self, delivery: PulledDelivery, id: str = INDEX) -> DeliveryState | None:
        """The state in the handler's row of the matrix."""
        event = json.loads(delivery.event)
        key = self.key(event["id"])
        [row] = self.backend.deliveries.rows(Group(delivery.reference.domain, id), [key])
        return None if row is None else row.state

    def key(self, event_id: str) -> str:
        return event_key(event_id, "shop")

    def group(self, id: str = INDEX, domain: str = "order") -> Group:
        record = self.backend.registry.handlers()[id]
        return Group(domain, id, record.flow_control)


def id_of(delivery: PulledDelivery) -> str:
    return str(json.loads(delivery.event)["id"])


def ids_of(deliveries: list[PulledDelivery]) -> list[str]:
    return [id_of(delivery) for delivery in deliveries]


class MemoryPullBus(PullBus):
    kind = "memory"

    def __init__(self) -> None:
        settings = Settings.load({}, service="gateway")
        self.store = Store(settings)
        super().__init__(self.store.backend, settings)

    def lose_record(self, id: str) -> None:
        registry = self.backend.registry
        assert isinstance(registry, MemoryRegistry)
        del registry._handlers[id]

    def append(self, domain: str, body: bytes) -> str:
        with self.store.event_log.silence():
            return super().append(domain, body)

    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        self.store.clock.advance(int(seconds * 1000))


class RedisPullBus(PullBus):
    kind = "redis"

    def __init__(self, settings: Settings) -> None:
        backend = redis_backend(settings)
        assert isinstance(backend.event_log, RedisEventLog)
        self.client, self.keys = backend.event_log.client, backend.event_log.keys
        super().__init__(backend, settings)

    def lose_record(self, id: str) -> None:
        self.client.hdel(self.keys.handlers, id)

    def pass_time(self, seconds: float) -> None:
        # The server's clock cannot be set, so the times are set back.
        super().pass_time(seconds)
        ms = int(seconds * 1000)
        for domain in self.backend.event_log.domains():
            for key in times_in(self.client, self.keys.base(domain)):
                for member in self.client.zrange(key, 0, -1):
                    self.client.zincrby(key, -ms, member)
            stream = self.keys.events(domain)
            for group in self.client.xinfo_groups(stream):
                for item in self.client.xpending_range(stream, group["name"], "-", "+", 1000):
                    idle = item["time_since_delivered"] + ms
                    self.client.execute_many(
                        [
                            (
                                "XCLAIM", stream, group["name"], item["consumer"], 0,
                                item["message_id"], "IDLE", idle, "JUSTID",
                            )
                        ]
                    )  # fmt: skip


@pytest.fixture(params=["memory", "redis", "cluster"])
def pull(request: pytest.FixtureRequest, namespace: str) -> Iterator[PullBus]:
    if request.param == "memory":
        yield MemoryPullBus()
        return
    is_cluster = request.param == "cluster"
    server = request.getfixturevalue("redis_cluster" if is_cluster else "redis_server")
    yield RedisPullBus(
        Settings.load({}, redis_url=server.url, namespace=namespace, service="gateway")
    )
