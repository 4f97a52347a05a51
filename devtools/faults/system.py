"""The two systems under test, seen alike: how to publish to each, and what each still holds."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

from celery import Celery

from celeriac import EventBus
from celeriac.errors import BusUnavailable, LogFull
from celeriac.event import RawEvent, decode
from celeriac.registry import WorkerRecord
from celeriac.store.redis.connection import Client, open_client
from devtools.faults.apps.handlers import SERVICE, SUBSCRIBED
from devtools.faults.rabbit_queue import RabbitQueue
from devtools.faults.store import Delivery

# Celery's queue in Redis: a list for each step of priority.
QUEUES = [SERVICE, *(f"{SERVICE}\x06\x16{step}" for step in (3, 6, 9))]
PUBLISH_WITHIN = 45.0  # seconds for which a publisher tries again with the same ids


class System(Protocol):
    name: str
    app: str

    def publish(self, type: str, ids: Sequence[str], data: Any = None) -> None:
        """Publish events, and return when all are accepted. Retries with the same ids."""

    def dead(self) -> set[Delivery]:
        """Return the deliveries that are dead letters."""
        ...

    def remaining(self) -> set[Delivery]:
        """Return the deliveries that the system still has at the end: they are late, not lost.

        Empty if the system only counts them.
        """
        ...

    def in_flight(self) -> int:
        """Return the number of deliveries that are waiting or in flight."""
        ...

    def ready(self, pid: int, output: str) -> bool:
        """Return whether the worker has started. `output` is its log."""
        ...

    def close(self) -> None: ...


def handlers_of(type: str) -> tuple[str, ...]:
    """Return the ids of the handlers that subscribe to a type."""
    domain = type.partition(".")[0]
    if domain.startswith("wide"):
        return (f"{SERVICE}.wide_{type.rpartition('type')[2]}",)
    return tuple(f"{SERVICE}.{name}" for name in SUBSCRIBED[domain])


class CeleriacSystem:
    """celeriac."""

    name = "celeriac"
    app = "devtools.faults.apps.celeriac_app"

    def __init__(self, url: str, server: str, lease: float, broker: str = "") -> None:
        self._emitter = EventBus(redis_url=url, lease=lease, emit_timeout=2.0)
        # Not through a proxy: these queries must not suffer the fault.
        self._reader = EventBus(redis_url=server, lease=lease)

    @property
    def bus(self) -> EventBus:
        return self._emitter

    def publish(self, type: str, ids: Sequence[str], data: Any = None) -> None:
        bus, deadline = self._emitter, time.monotonic() + PUBLISH_WITHIN
        events = [bus.event(type, data, id=id) for id in ids]
        while True:
            try:
                bus.emit_many(events)
                return
            except (BusUnavailable, LogFull):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def dead(self) -> set[Delivery]:
        backend = self._reader.service.backend
        dead: set[Delivery] = set()
        for domain in backend.event_log.domains():
            after = ""
            while page := backend.deliveries.dead(domain, after=after, count=1000):
                dead |= {(entry.handler, entry.event_id or entry.entry) for entry in page}
                after = page[-1].id
        return dead

    def remaining(self) -> set[Delivery]:
        return set()

    def in_flight(self) -> int:
        event_log = self._reader.service.backend.event_log
        groups = [group for domain in event_log.domains() for group in event_log.groups(domain)]
        return sum(group.pending + (1 if group.lag is None else group.lag) for group in groups)

    def events(self, domain: str) -> list[RawEvent]:
        """Return the events of a domain, in the order of its log."""
        entries = self._reader.service.backend.event_log.read(domain, count=1_000_000)
        return [decode(entry.body) for entry in entries if entry.body is not None]

    def workers(self) -> list[WorkerRecord]:
        return list(self._reader.service.backend.registry.workers())

    def ready(self, pid: int, output: str) -> bool:
        return any(worker.pid == pid for worker in self.workers())

    def close(self) -> None: ...


class CelerySystem:
    """Celery with a message for each subscriber."""

    name = "stock"
    app = "devtools.faults.apps.celery_app"

    def __init__(self, url: str, server: str, lease: float, broker: str = "") -> None:
        self._celery = Celery("publisher", broker=broker or url)
        if broker:
            self._celery.conf.update(
                task_create_missing_queue_type="quorum",
                broker_transport_options={"confirm_publish": True},
            )
        else:
            self._celery.conf.broker_transport_options = {"socket_timeout": 5.0}
        self._rabbit = RabbitQueue(broker) if broker else None
        self._client: Client = open_client(server, answer_within=20)

    def publish(self, type: str, ids: Sequence[str], data: Any = None) -> None:
        deadline = time.monotonic() + PUBLISH_WITHIN
        for id in ids:
            for handler in handlers_of(type):
                self._send(handler, id, data, deadline)

    def _send(self, handler: str, id: str, data: Any, deadline: float) -> None:
        while True:
            try:
                self._celery.send_task(
                    handler, args=(id, data), queue=SERVICE, task_id=f"{id}.{handler}"
                )
                return
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def dead(self) -> set[Delivery]:
        return set()

    def remaining(self) -> set[Delivery]:
        if self._rabbit:
            return set()  # RabbitMQ does not list unacknowledged messages
        queued = [item for queue in QUEUES for item in self._client.lrange(queue, 0, -1)]
        unacked = self._client.hvals("unacked")
        remaining: set[Delivery] = set()
        for message in (*map(_json, queued), *(_first(_json(raw)) for raw in unacked)):
            with contextlib.suppress(TypeError, KeyError, ValueError):
                id, handler = message["headers"]["id"].split(".", 1)
                remaining.add((handler, id))
        return remaining

    def in_flight(self) -> int:
        if self._rabbit:
            try:
                return self._rabbit.waiting()
            except Exception:  # it is being restarted: its messages cannot be counted
                return 1
        return len(self.remaining())

    def ready(self, pid: int, output: str) -> bool:
        return " ready." in output

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._celery.close()


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None
