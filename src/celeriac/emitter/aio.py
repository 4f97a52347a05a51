"""emit for asyncio: the same events by an async client of Redis, never a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import redis

from celeriac.connection import Client, explain, is_transient, open_async_client, pauses
from celeriac.emitter.emitter import PIPELINE, Emission, Emitter, when_ms
from celeriac.errors import BusUnavailable, LogFull
from celeriac.event import Event
from celeriac.keys import Keys
from celeriac.log.redis import POSTPONE


class AsyncEmitter:
    """Emits for coroutines. Each event loop gets a client of its own."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter
        self.settings = emitter.settings
        self.keys = Keys(self.settings.namespace)
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = WeakKeyDictionary()
        self._announced: set[str] = set()

    async def emit(
        self,
        event: Event[Any],
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
    ) -> str:
        body = self.emitter.encode(event)
        delay_ms, at_ms = when_ms(delay, at)

        async def append(client: Client) -> None:
            await self._announce(client, {event.domain})
            if delay_ms is None and at_ms is None:
                await client.xadd(self.keys.events(event.domain), {"event": body})
                return
            await client.eval(
                POSTPONE.source,
                1,
                self.keys.base(event.domain),
                body,
                "" if delay_ms is None else delay_ms,
                "" if at_ms is None else at_ms,
            )

        await self._persist(append)
        return event.id

    async def emit_many(
        self,
        events: Iterable[Emission | Mapping[str, Any]]
        | AsyncIterable[Emission | Mapping[str, Any]],
    ) -> int:
        emitted = 0
        chunk: list[Event[Any]] = []
        async for given in _each(events):
            chunk.append(self.emitter.as_event(given))
            if len(chunk) == PIPELINE:
                emitted += await self._emit_chunk(chunk, emitted)
                chunk = []
        return emitted + (await self._emit_chunk(chunk, emitted) if chunk else 0)

    async def _emit_chunk(self, chunk: list[Event[Any]], before: int) -> int:
        items = [(event.domain, self.emitter.encode(event)) for event in chunk]
        done = 0

        async def append(client: Client) -> None:
            nonlocal done
            rest = items[done:]
            await self._announce(client, {domain for domain, _ in rest})
            pipeline = client.pipeline(transaction=False)
            for domain, body in rest:
                pipeline.xadd(self.keys.events(domain), {"event": body})
            for answer in await pipeline.execute(raise_on_error=False):
                if isinstance(answer, Exception):
                    raise answer
                done += 1

        try:
            await self._persist(append)
        except (BusUnavailable, LogFull) as error:
            error.emitted = before + done
            raise
        return len(chunk)

    async def close(self) -> None:
        """Closes the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _announce(self, client: Client, domains: set[str]) -> None:
        new = domains - self._announced
        if new:
            await client.sadd(self.keys.domains, *new)
            self._announced |= new

    async def _persist(self, call: Callable[[Client], Awaitable[None]]) -> None:
        settings = self.settings
        client = self._client()
        pause_after = pauses(settings.emit_timeout)
        tries = 0
        while True:
            tries += 1
            try:
                return await call(client)
            except redis.RedisError as error:
                pause = pause_after() if is_transient(error) else None
                if pause is None:
                    raise explain(
                        error, url=settings.redis_url, tries=tries, seconds=settings.emit_timeout
                    ) from error
                await asyncio.sleep(pause)

    def _client(self) -> Client:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = open_async_client(
                self.settings.redis_url, answer_within=max(self.settings.emit_timeout / 2, 0.05)
            )
        return self._clients[loop]


async def _each(
    events: Iterable[Emission | Mapping[str, Any]] | AsyncIterable[Emission | Mapping[str, Any]],
) -> AsyncIterable[Emission | Mapping[str, Any]]:
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield event
    else:
        for event in events:
            yield event
