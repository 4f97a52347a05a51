"""The event log in Redis or Valkey for coroutines: an async client, no thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

import redis
from redis.exceptions import NoScriptError, ResponseError

from celeriac.bus_settings import BusSettings
from celeriac.errors import LogFull
from celeriac.event_log.backpressure import too_many_domains
from celeriac.event_log.delayed import tokens_to_take
from celeriac.event_log.event_log import EntryKind, Item
from celeriac.event_log.registered import is_plain, is_registered
from celeriac.invalid_record import InvalidRecords
from celeriac.redis_url import is_sentinel
from celeriac.settings import Settings
from celeriac.store.redis.append_once import APPEND_ONCE
from celeriac.store.redis.bus_settings import decode_hash
from celeriac.store.redis.connection import (
    Client,
    answer_time,
    is_refused,
    open_async_client,
    open_client,
)
from celeriac.store.redis.emitted import EmittedCounter
from celeriac.store.redis.event_log import ANNOUNCE, DELAY_EVENT, add_emitted_counts
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.loop_client import LoopClients
from celeriac.store.redis.packing import Packing, note_answered, pack_command, refuse_first
from celeriac.transfer import PORTION_BYTES, SLICE, portion_end, transfer_time

if TYPE_CHECKING:
    from celeriac.store.redis.sentinel import AsyncMasterWatch


def async_redis_event_log(settings: Settings, bus: BusSettings | None = None) -> AsyncRedisEventLog:
    """Return the event log with the settings of the bus. Does not connect yet."""
    from celeriac.store.redis.async_bounded_event_log import bounded_async_log

    event_log = bounded_async_log(settings)
    event_log.bus = bus or event_log.bus
    return event_log


class AsyncRedisEventLog:
    """Implements AsyncEventLog. Each event loop has its own client."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.invalid = InvalidRecords()
        self.bus = BusSettings(settings)
        self._usual = LoopClients(partial(self._open, 0.0))
        # redis-py's time-out applies to everything sent at once, so large events get a longer one.
        max_bytes = max(PORTION_BYTES, settings.max_event_bytes)
        self._large = LoopClients(partial(self._open, transfer_time(max_bytes)))
        self._emitted_counter = EmittedCounter(self._add_emitted)
        self.note_emitted = self._emitted_counter.note
        self._packing = Packing(self.keys)
        self._statistics_client: Client | None = None
        self._watch: AsyncMasterWatch | None = None
        if is_sentinel(settings.redis_url):
            from celeriac.store.redis.sentinel import AsyncMasterWatch

            self._watch = AsyncMasterWatch()

    async def register_domains(self, domains: Iterable[str]) -> None:
        names = list(domains)
        if names:
            await self.refresh()
            max_domains, key = self.bus.current.max_domains, self.keys.domains
            try:
                client = await self._current(0)
                refused = await client.eval(ANNOUNCE.source, 1, key, max_domains, *names)
            except ResponseError as error:
                refused = self.invalid.answer(key, error, ())
            if refused:
                raise LogFull(too_many_domains(refused[0].decode(errors="replace"), max_domains))

    async def refresh(self) -> None:
        """Read the settings of the bus again if they were read seconds ago."""
        if not self.bus.is_stale:
            return
        self.bus.mark_fresh()
        with suppress(redis.RedisError):  # the caller's next command reports it
            self.bus.learn(decode_hash(await (await self._current(0)).hgetall(self.keys.config)))

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        if is_registered(kind, since_ms):
            return await self._append_once((domain, body, kind, since_ms))
        client = await self._current(len(body))
        (answer,) = await client.send(self._packing.plain(domain, body, kind), 1)
        if isinstance(answer, Exception):
            raise answer

    async def _append_once(self, item: Item) -> None:
        await self.refresh()
        client, window = await self._current(len(item[1])), self.bus.current.dedup_window
        (answer,) = await client.send(self._packing.once(item, window), 1)
        if isinstance(answer, NoScriptError):
            call = APPEND_ONCE.in_full(*self._packing.call([item], window))
            (answer,) = await client.send(pack_command(call), 1)
        if isinstance(answer, Exception):
            raise answer

    async def append_many(self, items: Sequence[Item]) -> None:
        done = 0
        while done < len(items):
            end = portion_end(items, done)
            try:
                await self._append_portion(items[done:end])
            except BaseException as error:
                error.appended = done + getattr(error, "appended", 0)  # type: ignore[attr-defined]
                raise
            done = end

    async def _append_portion(self, items: Sequence[Item]) -> None:
        if not is_plain(items):
            await self.refresh()
        packed, counts = self._packing.portion(items, lambda: self.bus.current.dedup_window)
        client = await self._current(len(packed))
        try:
            answers = await client.send(packed, len(counts))
        except redis.RedisError as error:
            note_answered(error, counts)
            raise
        refuse_first(answers, counts)

    async def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> None:
        client, keys = await self._current(len(body)), DELAY_EVENT.keys(self.keys, domain)
        await client.eval(
            DELAY_EVENT.source,
            len(keys),
            *keys,
            body,
            "" if delay_ms is None else delay_ms,
            "" if at_ms is None else at_ms,
            *tokens_to_take(body, kind),
        )

    def _add_emitted(self, counts: Mapping[str, int]) -> None:
        # Called in the counter's own thread, which no event loop waits for.
        if self._statistics_client is None:
            settings = self.settings
            self._statistics_client = open_client(
                settings.redis_url, answer_within=settings.emit_timeout
            )
        add_emitted_counts(self._statistics_client, self.keys, counts)

    async def ping(self) -> None:
        try:
            # A cluster client has no PING, and a producer may have few permissions.
            await (await self._current(0)).hgetall(self.keys.config)
        except redis.RedisError as error:
            if not is_refused(error):
                raise

    def refusing(self) -> Self:
        return self

    async def close(self) -> None:
        await self._usual.close()
        await self._large.close()

    async def _current(self, size: int) -> Client:
        """Return a client for this number of bytes, connected to the current master."""
        client = self._client(size)
        if self._watch is not None:
            await self._watch.check(client)
        return client

    def _client(self, size: int = 0) -> Client:
        return (self._large if size > SLICE else self._usual).client()

    def _open(self, beyond: float) -> Client:
        within = answer_time(self.settings) + beyond
        return open_async_client(self.settings.redis_url, answer_within=within)
