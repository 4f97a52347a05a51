"""Clients that follow the master of Sentinels; imported only where the URL names some.

A planned failover leaves the old master up, with all its connections, and for some seconds it takes
writes that are lost when it becomes a replica. So the Sentinels are asked again now and then, not
only when a connection is made.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import MasterNotFoundError, Sentinel

from celeriac.redis_url import SentinelURL
from celeriac.store.redis.async_client import AsyncDirectClient
from celeriac.store.redis.client import DirectClient

ASK_EVERY = 0.5  # seconds
SENTINEL_WITHIN = 1.0  # seconds that a Sentinel may take to answer


class SentinelClient(DirectClient):
    """As DirectClient. It leaves a master within ASK_EVERY after the Sentinels did."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._asked_at = time.monotonic()

    def _borrow(self) -> Any:
        now = time.monotonic()
        if now - self._asked_at >= ASK_EVERY:
            self._asked_at = now
            pool: Any = self.connection_pool
            before = pool.master_address
            # Without Sentinels the master that was known serves on.
            with suppress(redis.RedisError):
                if pool.get_master_address() != before:
                    self._drop_resting()
        connection = super()._borrow()
        try:
            # One that was closed would go to where it was: only this asks for the master.
            connection.connect()
        except BaseException:
            self._drop(connection)
            raise
        return connection


class AsyncSentinelClient(AsyncDirectClient):
    """Closes the connections to the Sentinels too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        manager: Any = self.connection_pool
        for sentinel in manager.sentinel_manager.sentinels:
            await sentinel.aclose()


class AsyncMasterWatch:
    """Asks the Sentinels of an asyncio client again, now and then. Of one event loop."""

    def __init__(self) -> None:
        self._asked_at = time.monotonic()

    async def look(self, client: Any) -> None:
        """Makes the client leave a master that the Sentinels left."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_EVERY:
            self._asked_at = now
            with suppress(redis.RedisError):
                await client.connection_pool.get_master_address()


def open_sentinel(url: str, base: dict[str, Any]) -> SentinelClient:
    """`base` are the options of each connection. Does not connect yet."""
    return _master_for(_Sentinels, url, base, redis_class=SentinelClient)  # type: ignore[no-any-return]


def open_async_sentinel(url: str, base: dict[str, Any]) -> Any:
    """As `open_sentinel`, for asyncio."""
    return _master_for(_AsyncSentinels, url, base, redis_class=AsyncSentinelClient)


class _Sentinels(Sentinel):
    """Asks as Redis' guide for clients says. redis-py asks for the state of the master instead,
    which names the old one until the failover is over, some seconds after the promotion."""

    def discover_master(self, service_name: str) -> Any:
        failures: list[str] = []
        for sentinel in list(self.sentinels):
            try:
                found: Any = sentinel.sentinel_get_master_addr_by_name(service_name)
            except redis.RedisError as error:
                failures.append(str(error))
                continue
            if found:
                # The next question goes to one that answers.
                self.sentinels = [sentinel, *(s for s in self.sentinels if s is not sentinel)]
                return found
        raise MasterNotFoundError(_unknown(service_name, failures))


class _AsyncSentinels(AsyncSentinel):
    """As `_Sentinels`."""

    async def discover_master(self, service_name: str) -> Any:
        failures: list[str] = []
        for sentinel in list(self.sentinels):
            try:
                found: Any = await sentinel.sentinel_get_master_addr_by_name(service_name)
            except redis.RedisError as error:
                failures.append(str(error))
                continue
            if found:
                self.sentinels = [sentinel, *(s for s in self.sentinels if s is not sentinel)]
                return found
        raise MasterNotFoundError(_unknown(service_name, failures))


def _unknown(master: str, failures: list[str]) -> str:
    said = "; ".join(failures) or "they answer, and watch no master of that name"
    return f"no Sentinel knows the master {master!r} ({said})"


def _master_for(kind: Any, url: str, base: dict[str, Any], **options: Any) -> Any:
    parsed = SentinelURL.parse(url)
    within = min(SENTINEL_WITHIN, base["socket_timeout"])
    asking = base | {"socket_timeout": within, "socket_connect_timeout": within}
    sentinel = kind(
        parsed.nodes, sentinel_kwargs=asking | parsed.sentinel_options, **base | parsed.options
    )
    return sentinel.master_for(parsed.master, **options)
