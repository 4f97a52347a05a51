"""Where the stores of a service are made: the only place that picks an implementation."""

from __future__ import annotations

from dataclasses import dataclass, field

from celeriac.bus_settings import BusSettings
from celeriac.circuit_breaker import Circuits
from celeriac.contract.store import ContractStore
from celeriac.delivery import Ledger
from celeriac.delivery.chunk_store import ChunkStore
from celeriac.event_log import AsyncLog, EventLog
from celeriac.invalid_record import InvalidRecords
from celeriac.registry import Registry
from celeriac.settings import Settings
from celeriac.store.memory.contracts import MemoryContracts
from celeriac.store.redis.async_event_log import async_redis_log
from celeriac.store.redis.chunks import RedisChunks
from celeriac.store.redis.circuits import RedisCircuits
from celeriac.store.redis.contracts import RedisContracts
from celeriac.store.redis.deliveries import RedisLedger
from celeriac.store.redis.event_log import redis_log
from celeriac.store.redis.registry import RedisRegistry


@dataclass(frozen=True, slots=True)
class Backend:
    """Log, ledger, chunks, registry, circuits and contracts, which must lie in the same store.
    `invalid` lists the stored records that they skipped."""

    log: EventLog
    ledger: Ledger
    chunks: ChunkStore
    registry: Registry
    async_log: AsyncLog
    circuits: Circuits
    invalid: InvalidRecords = field(default_factory=InvalidRecords)
    contracts: ContractStore = field(default_factory=MemoryContracts)

    @property
    def bus(self) -> BusSettings:
        """The settings that the whole bus shares."""
        return self.log.bus


def redis_backend(settings: Settings) -> Backend:
    """Does not connect yet."""
    log = redis_log(settings)
    ledger = RedisLedger(settings, log.client, log.invalid, log.bus)
    return Backend(
        log=log,
        ledger=ledger,
        chunks=RedisChunks(ledger),
        registry=RedisRegistry(settings, log.client, log.invalid),
        async_log=async_redis_log(settings, log.bus),
        circuits=RedisCircuits(settings, log.client, log.invalid),
        invalid=log.invalid,
        contracts=RedisContracts(settings, log.client, log.invalid),
    )
