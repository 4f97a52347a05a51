"""The event log on a Redis Cluster for coroutines: each command goes to the node of its slot."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.event_log.event_log import EntryKind, Item
from celeriac.event_log.registered import is_plain, is_registered
from celeriac.store.redis.async_event_log import AsyncRedisEventLog
from celeriac.store.redis.packing import refuse_first


class AsyncRedisClusterEventLog(AsyncRedisEventLog):
    """Implements AsyncEventLog for a cluster, as RedisClusterEventLog does."""

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        if is_registered(kind, since_ms):
            return await self._append_portion([(domain, body, kind, since_ms)])
        client = await self._current(len(body))
        await client.xadd(self.keys.events(domain), {kind.value: body})

    async def _append_portion(self, items: Sequence[Item]) -> None:
        if not is_plain(items):
            await self.refresh()
        client = await self._current(sum(len(body) for _, body, _, _ in items))
        pipeline = client.pipeline(transaction=False)
        commands = self._packing.commands(items, self.bus.current.dedup_window)
        for words, _ in commands:
            pipeline.execute_command(*words)
        answers = await pipeline.execute(raise_on_error=False)
        refuse_first(answers, [count for _, count in commands])
