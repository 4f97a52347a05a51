"""Counts by tenant in one hash of Redis or Valkey."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celeriac.delivery.tenant_counts import TenantCount, parse_count
from celeriac.invalid_record import InvalidRecords
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client
from celeriac.store.redis.emitted import EmittedCounter
from celeriac.store.redis.keys import Keys


class RedisTenantCounts:
    """Implements TenantCounts. Adds the counts of a process about once a second."""

    def __init__(self, settings: Settings, client: Client, invalid: InvalidRecords) -> None:
        self.key = Keys(settings.namespace).tenants
        self.client = client
        self.invalid = invalid
        self._counter = EmittedCounter(self._add)

    def note(self, counted: Iterable[TenantCount]) -> None:
        self._counter.note(count.field for count in counted)

    def read(self) -> Mapping[TenantCount, int]:
        empty: dict[bytes, bytes] = {}
        stored = self.invalid.unless_wrong_type(
            self.key, lambda: self.client.hgetall(self.key), empty
        )
        counts = self.invalid.decode_all(
            self.key, stored, lambda field, value: (parse_count(field), int(value))
        )
        return dict(counts.values())

    def _add(self, counts: Mapping[str, int]) -> None:
        commands = [("HINCRBY", self.key, field, count) for field, count in counts.items()]
        self.invalid.unless_wrong_type(self.key, lambda: self.client.execute_many(commands), [])
