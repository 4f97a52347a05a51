"""The event log on a Redis Cluster for coroutines: each command goes to the node of its slot."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.log.redis import refuse_first
from celeriac.log.redis_aio import AsyncRedisLog


class AsyncRedisClusterLog(AsyncRedisLog):
    """See AsyncLog and RedisClusterLog for the promises."""

    async def append(self, domain: str, body: bytes) -> None:
        client = await self._current(len(body))
        await client.xadd(self.keys.events(domain), {"event": body})

    async def _append_portion(self, items: Sequence[tuple[str, bytes]]) -> None:
        client = await self._current(sum(len(body) for _, body in items))
        pipeline = client.pipeline(transaction=False)
        for domain, body in items:
            pipeline.xadd(self.keys.events(domain), {"event": body})
        refuse_first(await pipeline.execute(raise_on_error=False))
