"""Clients that follow the master of Sentinels; imported only if the URL names some.

A planned failover leaves the old master up, with all its connections. For some seconds it accepts
writes that are lost when it becomes a replica. So the Sentinels are queried at an interval, and not
only when a connection is opened.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import MasterNotFoundError, Sentinel

from celeriac.redis_url import Node, SentinelURL
from celeriac.store.redis.async_client import AsyncDirectClient
from celeriac.store.redis.client import DirectClient

QUERY_INTERVAL = 0.5  # seconds
SENTINEL_WITHIN = 1.0  # seconds that a Sentinel may take to answer


class SentinelClient(DirectClient):
    """A DirectClient that leaves a master within QUERY_INTERVAL after the Sentinels did."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._queried_at = time.monotonic()

    def _borrow(self) -> Any:
        now = time.monotonic()
        if now - self._queried_at >= QUERY_INTERVAL:
            self._queried_at = now
            pool: Any = self.connection_pool
            before = pool.master_address
            # Without a Sentinel, the known master stays in use.
            with suppress(redis.RedisError):
                if pool.get_master_address() != before:
                    self._drop_idle()
        connection = super()._borrow()
        try:
            # A closed connection would reconnect to its old server; this queries the master.
            connection.connect()
        except BaseException:
            self._drop(connection)
            raise
        return connection


class AsyncSentinelClient(AsyncDirectClient):
    """An AsyncDirectClient that also closes the connections to the Sentinels."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        manager: Any = self.connection_pool
        for sentinel in manager.sentinel_manager.sentinels:
            await sentinel.aclose()


class AsyncMasterWatch:
    """Queries the Sentinels of an asyncio client at an interval. Belongs to one event loop."""

    def __init__(self) -> None:
        self._queried_at = time.monotonic()

    async def check(self, client: Any) -> None:
        """Make the client leave a master that the Sentinels replaced."""
        now = time.monotonic()
        if now - self._queried_at >= QUERY_INTERVAL:
            self._queried_at = now
            with suppress(redis.RedisError):
                await client.connection_pool.get_master_address()


def open_sentinel(url: str, base: dict[str, Any]) -> SentinelClient:
    """Return a client. `base` are the options of each connection. Does not connect yet."""
    return _master_for(_Sentinels, url, base, redis_class=SentinelClient)  # type: ignore[no-any-return]


def open_async_sentinel(url: str, base: dict[str, Any]) -> Any:
    """Return a client as `open_sentinel`, for asyncio."""
    return _master_for(_AsyncSentinels, url, base, redis_class=AsyncSentinelClient)


class _Sentinels(Sentinel):
    """Queries the master as Redis' guide for clients requires. redis-py instead reads the state of
    the master, which names the old one until the failover ends, seconds after the promotion."""

    def __init__(self, nodes: Sequence[Node], options: Mapping[str, Any], **of_master: Any) -> None:
        super().__init__((), **of_master)  # type: ignore[no-untyped-call]
        self.sentinels = [DirectClient(host=host, port=port, **options) for host, port in nodes]

    def discover_master(self, service_name: str) -> Any:
        failures: list[str] = []
        for sentinel in list(self.sentinels):
            try:
                address: Any = sentinel.sentinel_get_master_addr_by_name(service_name)
            except redis.RedisError as error:
                failures.append(str(error))
                continue
            if address:
                # The next query goes to a Sentinel that answers.
                self.sentinels = [sentinel, *(s for s in self.sentinels if s is not sentinel)]
                return address
        raise MasterNotFoundError(_unknown(service_name, failures))


class _AsyncSentinels(AsyncSentinel):
    """`_Sentinels` for asyncio."""

    def __init__(self, nodes: Sequence[Node], options: Mapping[str, Any], **of_master: Any) -> None:
        super().__init__((), **of_master)  # type: ignore[no-untyped-call]
        self.sentinels = [
            AsyncDirectClient(host=host, port=port, **options) for host, port in nodes
        ]

    async def discover_master(self, service_name: str) -> Any:
        failures: list[str] = []
        for sentinel in list(self.sentinels):
            try:
                address: Any = await sentinel.sentinel_get_master_addr_by_name(service_name)
            except redis.RedisError as error:
                failures.append(str(error))
                continue
            if address:
                self.sentinels = [sentinel, *(s for s in self.sentinels if s is not sentinel)]
                return address
        raise MasterNotFoundError(_unknown(service_name, failures))


def _unknown(master: str, failures: list[str]) -> str:
    reasons = "; ".join(failures) or "they answer, but monitor no master of that name"
    return f"no Sentinel has the master {master!r} ({reasons}). Check CELERIAC_REDIS_URL"


def _master_for(kind: Any, url: str, base: dict[str, Any], **options: Any) -> Any:
    parsed = SentinelURL.parse(url)
    within = min(SENTINEL_WITHIN, base["socket_timeout"])
    limits = base | {"socket_timeout": within, "socket_connect_timeout": within}
    sentinel = kind(parsed.nodes, limits | parsed.sentinel_options, **base | parsed.options)
    return sentinel.master_for(parsed.master, **options)
