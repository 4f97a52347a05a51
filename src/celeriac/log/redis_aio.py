"""Appending to Redis or Valkey streams from coroutines, by an async client, never a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from redis.exceptions import ResponseError

from celeriac.connection import Client, answer_time, open_async_client, open_client
from celeriac.invalid_record import InvalidRecords
from celeriac.keys import Keys
from celeriac.log.emitted import EmittedTally
from celeriac.log.redis import POSTPONE, tell_emitted
from celeriac.redis_url import is_sentinel
from celeriac.settings import Settings

if TYPE_CHECKING:
    from celeriac.sentinel import AsyncMasterWatch


def async_redis_log(settings: Settings) -> AsyncRedisLog:
    """With a bound, or without. Does not connect yet."""
    if settings.log_most:
        from celeriac.log.bounded_aio import BoundedAsyncRedisLog

        return BoundedAsyncRedisLog(settings)
    return AsyncRedisLog(settings)


class AsyncRedisLog:
    """See AsyncLog for the promises. Each event loop gets a client of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.invalid = InvalidRecords()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = WeakKeyDictionary()
        self._tally = EmittedTally(self._tell_emitted)
        self.note_emitted = self._tally.note
        self._telling: Client | None = None
        self._watch: AsyncMasterWatch | None = None
        if is_sentinel(settings.redis_url):
            from celeriac.sentinel import AsyncMasterWatch

            self._watch = AsyncMasterWatch()

    async def announce(self, domains: Iterable[str]) -> None:
        names = list(domains)
        if names:
            try:
                await self._client().sadd(self.keys.domains, *names)
            except ResponseError as error:
                self.invalid.answer(self.keys.domains, error, 0)

    async def append(self, domain: str, body: bytes) -> None:
        await (await self._current()).xadd(self.keys.events(domain), {"event": body})

    async def append_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        pipeline = (await self._current()).pipeline(transaction=False)
        for domain, body in items:
            pipeline.xadd(self.keys.events(domain), {"event": body})
        for appended, answer in enumerate(await pipeline.execute(raise_on_error=False)):
            if isinstance(answer, Exception):
                answer.appended = appended  # type: ignore[attr-defined]
                raise answer

    async def postpone(
        self, domain: str, body: bytes, *, delay_ms: int | None, at_ms: int | None
    ) -> None:
        await (await self._current()).eval(
            POSTPONE.source,
            1,
            self.keys.base(domain),
            body,
            "" if delay_ms is None else delay_ms,
            "" if at_ms is None else at_ms,
        )

    def _tell_emitted(self, counts: Mapping[str, int]) -> None:
        # In the tally's own thread, which no event loop waits for.
        if self._telling is None:
            settings = self.settings
            self._telling = open_client(settings.redis_url, answer_within=settings.emit_timeout)
        tell_emitted(self._telling, self.keys, counts)

    async def close(self) -> None:
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _current(self) -> Client:
        """The client, at the master that the Sentinels name now."""
        client = self._client()
        if self._watch is not None:
            await self._watch.look(client)
        return client

    def _client(self) -> Client:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = open_async_client(
                self.settings.redis_url, answer_within=answer_time(self.settings)
            )
        return self._clients[loop]
