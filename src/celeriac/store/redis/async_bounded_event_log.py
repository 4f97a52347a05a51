"""The event log with backpressure, for coroutines: appending waits without blocking the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

from celeriac.errors import LogFull
from celeriac.event_log.backpressure import CreditLimiter, credited_end, full_message, waiting
from celeriac.event_log.event_log import EntryKind, Item
from celeriac.redis_url import is_cluster
from celeriac.settings import Settings
from celeriac.store.redis.async_event_log import AsyncRedisEventLog
from celeriac.store.redis.bounded_event_log import BACKLOG, backlog_of
from celeriac.store.redis.known_groups import KnownGroups


class BoundedAsyncRedisEventLog(AsyncRedisEventLog):
    """Implements AsyncEventLog, with the limit of BoundedRedisEventLog."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.bound = CreditLimiter(settings.max_backlog)
        self._known_groups = KnownGroups(self.keys)

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        if await self._is_bounded():
            await self._admit(domain)
        await super().append(domain, body, kind, since_ms)

    async def append_many(self, items: Sequence[Item]) -> None:
        if not await self._is_bounded():
            return await super().append_many(items)
        done = 0
        while done < len(items):
            end = credited_end(self.bound, items, done)
            try:
                if end > done:
                    await super().append_many(items[done:end])
                else:
                    await self._wait_for_credit(items[done][0])
            except BaseException as error:
                error.appended = done + getattr(error, "appended", 0)  # type: ignore[attr-defined]
                raise
            done = end

    async def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> None:
        if await self._is_bounded():
            await self._admit(domain)
        await super().append_delayed(domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind)

    def refusing(self) -> Self:
        other = copy(self)
        other.settings = replace(self.settings, log_full="raise")
        return other

    async def _is_bounded(self) -> bool:
        await self.refresh()
        self.bound.max_backlog = self.bus.current.max_backlog
        return self.bound.max_backlog > 0

    async def _admit(self, domain: str) -> None:
        while not self.bound.use(domain):
            await self._wait_for_credit(domain)

    async def _wait_for_credit(self, domain: str) -> None:
        for pause in waiting(self.settings):
            backlog = backlog_of(await self._backlog(domain))
            if self.bound.refill(domain, backlog.events):
                return
            if pause is None:
                raise LogFull(full_message(domain, backlog, self.bound.max_backlog))
            await asyncio.sleep(pause)

    async def _backlog(self, domain: str) -> Any:
        while True:
            keys, arguments = self._known_groups.call(BACKLOG, domain, (self.keys.chunks,))
            answer = await self._client().eval(BACKLOG.source, len(keys), *keys, *arguments)
            if not self._known_groups.learn(domain, answer):
                return answer


def bounded_async_log(settings: Settings) -> AsyncRedisEventLog:
    """Return the event log of one server or of a cluster. Does not connect yet."""
    if not is_cluster(settings.redis_url):
        return BoundedAsyncRedisEventLog(settings)
    from celeriac.store.redis.async_cluster_event_log import AsyncRedisClusterEventLog

    class BoundedAsyncRedisClusterEventLog(BoundedAsyncRedisEventLog, AsyncRedisClusterEventLog):
        """BoundedAsyncRedisEventLog for a cluster."""

    return BoundedAsyncRedisClusterEventLog(settings)
