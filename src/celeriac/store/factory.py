"""Create the stores of a service. This is the only place that picks an implementation."""

from __future__ import annotations

from dataclasses import dataclass, field

from celeriac.bus_settings import BusSettings
from celeriac.circuit_breaker import Circuits
from celeriac.contract.store import ContractStore
from celeriac.delivery import DeliveryStore
from celeriac.delivery.chunk_store import ChunkStore
from celeriac.delivery.tenant_counts import TenantCounts
from celeriac.event_log import EventLog, ServerEventLog
from celeriac.invalid_record import InvalidRecords
from celeriac.registry import Registry
from celeriac.reply import ReplyStore
from celeriac.schedule import ScheduleStore
from celeriac.settings import Settings
from celeriac.store.memory.contracts import MemoryContracts
from celeriac.store.memory.replies import MemoryReplies
from celeriac.store.memory.tenant_counts import MemoryTenantCounts
from celeriac.store.redis.async_event_log import async_redis_event_log
from celeriac.store.redis.chunks import RedisChunks
from celeriac.store.redis.circuits import RedisCircuits
from celeriac.store.redis.contracts import RedisContracts
from celeriac.store.redis.deliveries import RedisDeliveryStore
from celeriac.store.redis.event_log import redis_event_log
from celeriac.store.redis.registry import RedisRegistry
from celeriac.store.redis.replies import RedisReplies
from celeriac.store.redis.schedules import RedisSchedules
from celeriac.store.redis.tenant_counts import RedisTenantCounts


@dataclass(frozen=True, slots=True)
class Backend:
    """The event log, the delivery store, chunks, registry, circuits, schedules, replies, contracts
    and counts by tenant of one bus.

    All must use the same server. `invalid` lists the stored records that they skipped.
    """

    event_log: EventLog
    deliveries: DeliveryStore
    chunks: ChunkStore
    registry: Registry
    async_event_log: ServerEventLog
    circuits: Circuits
    schedules: ScheduleStore
    replies: ReplyStore = field(default_factory=MemoryReplies)
    invalid: InvalidRecords = field(default_factory=InvalidRecords)
    contracts: ContractStore = field(default_factory=MemoryContracts)
    tenant_counts: TenantCounts = field(default_factory=MemoryTenantCounts)

    @property
    def bus(self) -> BusSettings:
        """The settings that the whole bus shares."""
        return self.event_log.bus


def redis_backend(settings: Settings) -> Backend:
    """Return the stores of a service in Redis. Does not connect yet."""
    event_log = redis_event_log(settings)
    deliveries = RedisDeliveryStore(settings, event_log.client, event_log.invalid, event_log.bus)
    return Backend(
        event_log=event_log,
        deliveries=deliveries,
        chunks=RedisChunks(deliveries),
        registry=RedisRegistry(settings, event_log.client, event_log.invalid),
        async_event_log=async_redis_event_log(settings, event_log.bus),
        circuits=RedisCircuits(settings, event_log.client, event_log.invalid),
        schedules=RedisSchedules(settings, event_log.client, event_log.invalid, event_log.bus),
        replies=RedisReplies(settings, event_log.client, event_log.invalid),
        invalid=event_log.invalid,
        contracts=RedisContracts(settings, event_log.client, event_log.invalid),
        tenant_counts=RedisTenantCounts(settings, event_log.client, event_log.invalid),
    )
