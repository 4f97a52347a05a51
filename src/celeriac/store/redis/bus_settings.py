"""The settings of a bus in one hash of Redis or Valkey."""

from __future__ import annotations

from collections.abc import Mapping

from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, server_time_ms
from celeriac.store.redis.keys import Keys


class RedisSettingsStore:
    """Implements SettingsStore."""

    fresh_for = 5.0

    def __init__(self, settings: Settings, client: Client) -> None:
        self.key = Keys(settings.namespace).config
        self.client = client

    def read(self) -> Mapping[str, str]:
        return decode_hash(self.client.hgetall(self.key))

    def add(self, values: Mapping[str, str]) -> None:
        # Not HSET: with only HSETNX in its ACL, a service cannot change existing values.
        for name, value in values.items():
            self.client.hsetnx(self.key, name, value)

    def write(self, values: Mapping[str, str]) -> None:
        self.client.hset(self.key, mapping=dict(values))

    def now_ms(self) -> int:
        return server_time_ms(self.client)


def decode_hash(stored: Mapping[bytes, bytes]) -> Mapping[str, str]:
    """Return the record from the reply of HGETALL; invalid UTF-8 becomes `?`."""
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in stored.items()
    }
