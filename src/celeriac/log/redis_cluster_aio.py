"""The event log on a Redis Cluster for coroutines: each command goes to the node of its slot."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.log.log import EntryKind, Item
from celeriac.log.redis import refuse_first
from celeriac.log.redis_aio import AsyncRedisLog


class AsyncRedisClusterLog(AsyncRedisLog):
    """See AsyncLog and RedisClusterLog for the promises."""

    async def append(self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN) -> None:
        client = await self._current(len(body))
        await client.xadd(self.keys.events(domain), {kind.value: body})

    async def _append_portion(self, items: Sequence[Item]) -> None:
        client = await self._current(sum(len(body) for _, body, _ in items))
        pipeline = client.pipeline(transaction=False)
        for domain, body, kind in items:
            pipeline.xadd(self.keys.events(domain), {kind.value: body})
        refuse_first(await pipeline.execute(raise_on_error=False))
