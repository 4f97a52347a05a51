"""Log, deliveries and registry over one store, and the faults and times of the suite."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celeriac.delivery import (
    Claimed,
    Completion,
    Delivery,
    DeliveryStore,
    Failure,
    FetchRequest,
    FetchResult,
    Group,
    Outcome,
)
from celeriac.delivery.chunk_store import ChunkStore
from celeriac.event import event_key
from celeriac.event_log import EventLog
from celeriac.registry import Registry
from celeriac.schedule import ScheduleStore
from celeriac.settings import Settings
from celeriac.store.memory.chunks import MemoryChunks
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.deliveries import MemoryDeliveryStore
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.registry import MemoryRegistry
from celeriac.store.memory.schedules import MemorySchedules
from celeriac.store.redis.chunks import RedisChunks
from celeriac.store.redis.deliveries import RedisDeliveryStore
from celeriac.store.redis.event_log import redis_event_log
from celeriac.store.redis.registry import RedisRegistry
from celeriac.store.redis.schedules import RedisSchedules

DOMAIN = "order"
HOUR_MS = 3_600_000


def body(event_id: str, subject: str = "", **more: Any) -> bytes:
    """An event as JSON, with as much in it as log and delivery store look at."""
    return json.dumps({"id": event_id, "subject": subject, **more}).encode()


def key_of(raw: bytes | None) -> str:
    """The event key; that of an event without a source is its id, since the delivery store does not
    look into keys."""
    event = json.loads(raw or b"")
    return event_key(event["id"], event["source"]) if "source" in event else str(event["id"])


class Store:
    """`event_log`, `deliveries` and `registry` of one implementation, with shorthands for tests."""

    def __init__(
        self,
        event_log: EventLog,
        deliveries: DeliveryStore,
        registry: Registry,
        chunks: ChunkStore,
        schedules: ScheduleStore,
    ) -> None:
        self.event_log = event_log
        self.deliveries = deliveries
        self.chunks = chunks
        self.registry = registry
        self.schedules = schedules

    @contextmanager
    def leases_over(self) -> Iterator[None]:
        """Within, every lease is over, as if its time had passed."""
        raise NotImplementedError

    def pass_hour(self) -> None:
        """What is due, or delayed, within an hour is so now."""
        raise NotImplementedError

    def pass_ms(self, ms: int) -> None:
        """Time passes."""
        raise NotImplementedError

    def age(self, ms: int) -> None:
        """What is limited by a retention or a window is older by this: dead letters, known ids and
        rows; entries, if their log has no groups. Unlike `pass_ms` it does not wait, so limits can
        be so long that a busy machine does not reach them."""
        raise NotImplementedError

    def set_clock_back(self, ms: int) -> None:
        """The server's clock steps back."""
        raise NotImplementedError

    # -- shorthands

    def emit(self, event_id: str, subject: str = "", **more: Any) -> str:
        return self.event_log.append(DOMAIN, body(event_id, subject, **more))

    def fetch(
        self, group: Group, worker: str = "w1", limit: int = 100, max_new: int = 1000
    ) -> FetchResult:
        [taken] = self.deliveries.fetch(worker, [FetchRequest(group, limit, max_new=max_new)])
        return taken

    def reclaim(self, group: Group, worker: str = "w1", limit: int = 100) -> FetchResult:
        """Takes with every lease over."""
        with self.leases_over():
            [taken] = self.deliveries.fetch(
                worker, [FetchRequest(group, limit, reclaim=True, max_new=0)]
            )
        return taken

    def claim(
        self, group: Group, deliveries: Sequence[Delivery], worker: str = "w1", most: int = 10
    ) -> list[Claimed]:
        pairs = [(d.entry, key_of(d.body)) for d in deliveries]
        return self.deliveries.claim(worker, group, pairs, most)

    def run(self, group: Group, worker: str = "w1") -> list[Claimed]:
        """Takes and claims what there is."""
        return self.claim(group, self.fetch(group, worker).deliveries, worker)

    def complete(
        self,
        group: Group,
        claimed: Claimed,
        outcome: Outcome = Outcome.PROCESSED,
        worker: str = "w1",
        **more: Any,
    ) -> bool:
        """True if the delivery was still held."""
        return not self.deliveries.complete(worker, group, [settled(claimed, outcome, **more)])

    def owner(self, group: Group, entry: str) -> str | None:
        pending = self.deliveries.pending(group, entry)
        return pending.owner if pending else None


def settled(claimed: Claimed, outcome: Outcome, **more: Any) -> Completion:
    if outcome in (Outcome.RETRY, Outcome.DEAD, Outcome.REFUSED):
        failure = Failure(attempt=claimed.attempt, at=1000 + claimed.attempt, error="boom")
        more = {"failure": failure, "traceback": "line 1", **more}
    return Completion(claimed.entry, key_of(claimed.body), claimed.attempt, outcome, **more)


def times_in(client: Any, base: str) -> list[bytes]:
    """Return the sorted sets of times that begin with `base`, among the keys of all tests.

    They are found in few steps: with the default count of SCAN, ten thousand keys take a thousand.
    """
    kinds = ("scheduled", "throttled", "arrivals", "quiet_until", "quiet_since")
    prefixes = tuple(f"{base}{kind}:".encode() for kind in kinds)
    return [key for key in client.scan_iter(f"{base}*", count=5_000) if key.startswith(prefixes)]


class MemoryStore(Store):
    def __init__(self, settings: Settings) -> None:
        self.clock = MemoryClock()
        event_log = MemoryEventLog(settings, self.clock)
        self._deliveries = MemoryDeliveryStore(settings, event_log)
        chunks = MemoryChunks(self._deliveries)
        super().__init__(
            event_log,
            self._deliveries,
            MemoryRegistry(self.clock),
            chunks,
            MemorySchedules(event_log),
        )

    @contextmanager
    def leases_over(self) -> Iterator[None]:
        lease, self._deliveries.lease_ms = self._deliveries.lease_ms, 0
        yield
        self._deliveries.lease_ms = lease

    def pass_hour(self) -> None:
        self.clock.advance(HOUR_MS)

    def pass_ms(self, ms: int) -> None:
        self.clock.advance(ms)

    def age(self, ms: int) -> None:
        self.clock.advance(ms)

    def set_clock_back(self, ms: int) -> None:
        self.clock.advance(-ms)


class RedisStore(Store):
    def __init__(self, settings: Settings) -> None:
        event_log = redis_event_log(settings)
        self.client, self.keys = event_log.client, event_log.keys
        self.invalid = event_log.invalid
        self._deliveries = RedisDeliveryStore(
            settings, event_log.client, event_log.invalid, event_log.bus
        )
        self.clock = self._deliveries.clock
        registry = RedisRegistry(settings, invalid=event_log.invalid)
        schedules = RedisSchedules(settings, event_log.client, event_log.invalid, event_log.bus)
        super().__init__(
            event_log, self._deliveries, registry, RedisChunks(self._deliveries), schedules
        )

    @contextmanager
    def leases_over(self) -> Iterator[None]:
        lease, self._deliveries.lease_ms = self._deliveries.lease_ms, 0
        yield
        self._deliveries.lease_ms = lease

    def pass_ms(self, ms: int) -> None:
        time.sleep(ms / 1000)

    def age(self, ms: int) -> None:
        client: Any = self.client
        entries = self.keys.events(DOMAIN)
        groups = client.xinfo_groups(entries) if client.exists(entries) else []
        for stream in (self.keys.dead(DOMAIN), *(() if groups else (entries,))):
            stored = client.xrange(stream)
            client.delete(stream)
            for entry, fields in stored:
                at, number = entry.decode().split("-")
                client.xadd(stream, fields, id=f"{int(at) - ms}-{number}")
        kept = [*self.keys.ids(DOMAIN)]
        for group in groups:
            handler = group["name"].decode()
            kept += self.keys.matrix(DOMAIN, handler) + self.keys.verified(DOMAIN, handler)
        for generation in kept:
            if mark := client.hget(generation, ""):
                began, window = mark.decode().split()
                client.hset(generation, "", f"{int(began) - ms} {window}")
                if (left_ms := client.pttl(generation) - ms) > 0:
                    client.pexpire(generation, left_ms)
                else:
                    client.delete(generation)
        time.sleep(0.002)  # so that no entry has the id that another one had before

    def pass_hour(self) -> None:
        # its clock cannot be put on, so the times are put back
        for times in self._times():
            for member in self.client.zrange(times, 0, -1):
                self.client.zincrby(times, -HOUR_MS, member)

    def _times(self) -> list[bytes | str]:
        """The sorted sets of times."""
        return [*times_in(self.client, self.keys.base(DOMAIN)), self.keys.delayed(DOMAIN)]

    def set_clock_back(self, ms: int) -> None:
        # its clock cannot be set: everything that was timed by it is put ahead, which is the same
        for times in self._times():
            for member, at in self.client.zrange(times, 0, -1, withscores=True):
                if at == int(at):
                    self.client.zadd(times, {member: at + ms})
        for key in self.client.scan_iter(self.keys.rate("*"), count=5_000):
            self.client.set(key, float(self.client.get(key)) + ms)
        now = self.registry.now_ms()
        there = self.client.exists(self.keys.events(DOMAIN))
        for group in self.client.xinfo_groups(self.keys.events(DOMAIN)) if there else ():
            for one in self.client.xpending_range(
                self.keys.events(DOMAIN), group["name"], "-", "+", 1000
            ):
                lived = one["time_since_delivered"]
                claim = ("XCLAIM", self.keys.events(DOMAIN), group["name"], one["consumer"], 0)
                until = ("TIME", now - lived + ms, "JUSTID")
                self.client.execute_many([(*claim, one["message_id"], *until)])
            chunks = self.keys.chunks(DOMAIN, group["name"].decode())
            for id, stored in self.client.hgetall(chunks).items():
                words = stored.decode().split(" ")
                renewed = int(words[-1]) + ms
                self.client.hset(chunks, id, " ".join([*words[:-1], str(renewed)]))
        clocks = self.keys.clock(DOMAIN)
        for name, stored in self.client.hgetall(clocks).items():
            seen, *rest = stored.decode().split(" ")
            self.client.hset(clocks, name, " ".join([str(int(seen) + ms), *rest]))
