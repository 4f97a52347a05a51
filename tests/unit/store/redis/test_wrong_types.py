"""A key of another type: each read returns that there is nothing, and reports the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from celeriac.bus_settings import BusSettings
from celeriac.circuit_breaker.circuit import Circuit
from celeriac.delivery import Group
from celeriac.delivery.record import History
from celeriac.event import EmittedEvents
from celeriac.event_log.event_log import StreamStats
from celeriac.invalid_record import InvalidRecords
from celeriac.settings import Settings
from celeriac.store.redis.chunks import RedisChunks
from celeriac.store.redis.circuits import RedisCircuits
from celeriac.store.redis.connection import service_client
from celeriac.store.redis.contracts import RedisContracts
from celeriac.store.redis.deliveries import RedisDeliveryStore
from celeriac.store.redis.event_log import RedisEventLog
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.registry import RedisRegistry
from celeriac.store.redis.replies import RedisReplies
from celeriac.store.redis.schedules import RedisSchedules
from celeriac.store.redis.tenant_counts import RedisTenantCounts

GROUP = Group("order", "billing.charge")


class Stores(NamedTuple):
    """Everything that reads Redis, with one client."""

    event_log: RedisEventLog
    deliveries: RedisDeliveryStore
    chunks: RedisChunks
    registry: RedisRegistry
    circuits: RedisCircuits
    contracts: RedisContracts
    schedules: RedisSchedules
    replies: RedisReplies
    tenants: RedisTenantCounts


@pytest.fixture
def invalid() -> InvalidRecords:
    return InvalidRecords()


@pytest.fixture
def stores(settings: Settings, invalid: InvalidRecords) -> Stores:
    """Stores whose keys all have another type."""
    client, keys, bus = service_client(settings), Keys(settings.namespace), BusSettings(settings)
    types = keys.shared_types() | keys.types(GROUP.domain, GROUP.handler)
    for key, type_ in types.items():
        client.rpush(key, "x") if type_ == "string" else client.set(key, "x")
    event_log = RedisEventLog(settings)
    event_log.invalid = invalid
    deliveries = RedisDeliveryStore(settings, client, invalid, bus)
    return Stores(
        event_log,
        deliveries,
        RedisChunks(deliveries),
        RedisRegistry(settings, client, invalid),
        RedisCircuits(settings, client, invalid),
        RedisContracts(settings, client, invalid),
        RedisSchedules(settings, client, invalid, bus),
        RedisReplies(settings, client, invalid),
        RedisTenantCounts(settings, client, invalid),
    )


NOTHING: dict[str, tuple[Callable[[Stores], Any], Any, str]] = {
    "domains": (lambda s: s.event_log.domains(), frozenset(), "domains"),
    "events": (lambda s: s.event_log.read("order"), [], "events"),
    "newest": (lambda s: s.event_log.read("order", newest_first=True), [], "events"),
    "pages": (lambda s: s.event_log.read_after([("order", "0", 9)]), [[]], "events"),
    "length": (lambda s: s.event_log.length("order"), 0, "events"),
    "groups": (lambda s: s.event_log.groups("order"), [], "events"),
    "join": (lambda s: s.event_log.join("order", "b.c", "0"), False, "events"),
    "registered": (lambda s: s.event_log.registered("order", ["a", "b"]), [None, None], "ids"),
    "delayed": (lambda s: s.event_log.delayed("order"), 0, "delayed"),
    "upcoming": (lambda s: s.event_log.upcoming("order"), [], "delayed"),
    "due": (lambda s: s.event_log.enqueue_due("order"), (0, None), "delayed"),
    "clock": (lambda s: s.event_log.clock_step("order"), None, "clock"),
    "consumers": (lambda s: s.event_log.remove_idle_consumers("order"), 0, "events"),
    "trim": (lambda s: s.event_log.trim("order"), (0, 0), "events"),
    "stats": (lambda s: s.event_log.stream_stats(["order"]), [StreamStats("order", 0, 0, 0)],
              "emitted"),
    "rows": (lambda s: s.deliveries.rows(GROUP, ["a"]), [None], "matrix"),
    "histories": (lambda s: s.deliveries.histories(GROUP, ["a"]), [History()], "failures"),
    "emitted": (lambda s: s.deliveries.emitted_events(GROUP, ["a"]), [EmittedEvents()],
                "emitted_events"),
    "counters": (lambda s: s.deliveries.counters([GROUP]), [{}], "counters"),
    "earlier": (lambda s: s.deliveries.earlier_in_sequence(GROUP, "1-1"), [], "keyed"),
    "throttled": (lambda s: s.deliveries.blocked_until_ms(GROUP), None, "throttled"),
    "sources": (lambda s: s.deliveries.sources("order"), [], "sources"),
    "scheduled": (lambda s: s.deliveries.due(GROUP), 0, "scheduled"),
    "scheduled until": (lambda s: s.deliveries.due_until([GROUP], 9), [0], "scheduled"),
    "stats of handlers": (lambda s: s.deliveries.stats(GROUP), {}, "stats"),
    "patterns": (lambda s: s.deliveries.patterns(GROUP), (), "patterns"),
    "note patterns": (lambda s: s.deliveries.note_patterns(GROUP, ["a.b"]), (), "patterns"),
    "note sources": (lambda s: s.deliveries.note_sources("order", {"a": 1}), None, "sources"),
    "dead": (lambda s: s.deliveries.dead("order"), [], "dead"),
    "dead letter": (lambda s: s.deliveries.dead_letter("order", "1-1"), None, ""),
    "dead count": (lambda s: s.deliveries.dead_count("order"), 0, "dead"),
    "dead groups": (lambda s: s.deliveries.dead_groups("order"), [], "dead_groups"),
    "audit log": (lambda s: s.deliveries.audit_log("order"), [], "audit"),
    "archive": (lambda s: s.deliveries.archive_replay(GROUP), None, "archive_replay"),
    "chunks": (lambda s: s.chunks.open_chunks(GROUP), [], "chunks"),
    "count of chunks": (lambda s: s.chunks.count_open("w1", [GROUP]), [0], ""),
    "handlers": (lambda s: s.registry.handlers(), {}, "handlers"),
    "was removed": (lambda s: s.registry.was_removed("a.b"), False, "handlers"),
    "registered handlers": (lambda s: s.registry.registered(["a.b"]), {}, "handlers"),
    "unregistered": (lambda s: s.registry.unregistered(["a.b"]), [], "handlers"),
    "unregister": (lambda s: s.registry.unregister("a.b"), False, "handlers"),
    "workers": (lambda s: s.registry.workers(), [], "workers"),
    "depart": (lambda s: s.registry.depart("w1"), None, "workers"),
    "targets": (lambda s: s.registry.scale_targets(), {}, "scale_targets"),
    "circuits": (lambda s: s.circuits.all(), {}, "circuits"),
    "circuit": (lambda s: s.circuits.get("a.b"), Circuit(handler="a.b"), "circuits"),
    "contracts": (lambda s: s.contracts.contracts_and_readers(), ([], {}), "contracts"),
    "schedules": (lambda s: s.schedules.all(["order"]), [], "schedules"),
    "requests": (lambda s: s.replies.stats(), {}, "requests"),
    "tenants": (lambda s: s.tenants.read(), {}, "tenants"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_a_key_of_another_type_holds_nothing_and_is_reported(
    stores: Stores, invalid: InvalidRecords, name: str
) -> None:
    read, nothing, reported = NOTHING[name]
    result = read(stores)
    assert nothing == result
    assert type(nothing) is type(result) or isinstance(result, (dict, list))
    assert reported in " ".join(record.key for record in invalid)
