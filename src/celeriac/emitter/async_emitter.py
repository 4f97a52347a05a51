"""Emit from coroutines, without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from copy import copy
from datetime import datetime, timedelta
from typing import Any, Self

import redis

from celeriac.emitter.emitter import (
    NEW,
    PIPELINE,
    Emission,
    Emitter,
)
from celeriac.emitter.interrupted import note_interrupted
from celeriac.emitter.known_domains import KnownDomains
from celeriac.event import Event, made_ms, new_event_ids, record_emitted
from celeriac.event_log import AsyncEventLog, Item, time_ms, tried_at
from celeriac.event_log.delayed import when_ms
from celeriac.middleware import Through
from celeriac.store.redis.connection import explain, is_transient, pauses
from celeriac.store.redis.refusal import nothing_written
from celeriac.transfer import PORTION_BYTES, transfer_time

Emissions = Iterable[Emission | Mapping[str, Any]] | AsyncIterable[Emission | Mapping[str, Any]]


class AsyncEmitter:
    """Emits from coroutines of any event loop."""

    def __init__(self, emitter: Emitter, event_log: Callable[[], AsyncEventLog]) -> None:
        self.emitter = emitter
        self.settings = emitter.settings
        self._event_log = event_log
        self._known_domains = KnownDomains()

    def with_event_log(self, event_log: AsyncEventLog) -> Self:
        """Return the same emitter with another event log."""
        other = copy(self)
        other._event_log = lambda: event_log
        other._known_domains = KnownDomains()
        return other

    async def emit(
        self,
        event: Event[Any],
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        made: bool = False,
    ) -> str:
        """Append the event, or store it with its delay; return its id. See Emitter.emit."""
        hooks = self.emitter.hooks
        if hooks is None:
            await self._emit(event, delay, at, made)
            return event.id
        with hooks.around_one(event) as changed:
            await self._emit(changed, delay, at, made and changed.id == event.id)
        return changed.id

    async def emit_body(self, event: Event[Any]) -> bytes:
        """Append the event; return the appended bytes."""
        hooks = self.emitter.hooks
        if hooks is None:
            return await self._emit(event, None, None, False)
        with hooks.around_one(event) as changed:
            return await self._emit(changed, None, None, False)

    async def _emit(
        self,
        event: Event[Any],
        delay: float | timedelta | None,
        at: datetime | None,
        made: bool,
    ) -> bytes:
        body = self.emitter.encode(event, valid=made and self.emitter.hooks is None)
        delay_ms, at_ms = when_ms(delay, at)
        event_log, domain = self._event_log(), event.domain
        kind, since = NEW if made else self.emitter.kind_of_id(event.id)

        async def append() -> None:
            nonlocal since
            if not self._known_domains.knows(event_log, domain):
                await self._register(event_log, (domain,))
            if delay_ms is None and at_ms is None:
                try:
                    await event_log.append(domain, body, kind, since)
                except redis.RedisError as error:
                    if not nothing_written(error):
                        since = made_ms(event.id)
                    raise
            else:
                delayed_kind = self.emitter.kind_delayed(kind)
                await event_log.append_delayed(
                    domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=delayed_kind
                )

        await self.persist(append, len(body))
        record_emitted((event,))
        event_log.note_emitted((event.type,))
        return body

    async def emit_many(self, events: Emissions) -> int:
        """Append any number of events as Emitter.emit_many does; return their number."""
        if self.emitter.hooks is None:
            return await self._emit_many(events, None)
        with self.emitter.hooks.around(None) as through:
            return await self._emit_many(events, through)

    async def _emit_many(self, events: Emissions, through: Through | None) -> int:
        emitted = 0
        given = _each(events)
        while chosen := await self._encoded(given, emitted, through):
            chosen_events, items = chosen
            await self._emit_chunk(items, chosen_events, emitted)
            record_emitted(chosen_events)
            self._event_log().note_emitted([event.type for event in chosen_events])
            emitted += len(items)
        return emitted

    async def _encoded(
        self,
        events: AsyncIterator[Emission | Mapping[str, Any]],
        emitted: int,
        through: Through | None,
    ) -> tuple[list[Event[Any]], list[Item]] | None:
        """Return the next events of one pipeline, with their encoded items; None at the end."""
        ids = new_event_ids(PIPELINE)
        chosen: list[Event[Any]] = []
        items: list[Item] = []
        size = 0
        try:
            async for given in events:
                event, item = self.emitter.as_item(given, ids, through)
                chosen.append(event)
                items.append(item)
                size += len(item[1])
                if len(items) == PIPELINE or size >= PORTION_BYTES:
                    break
        except BaseException as error:
            hooks = self.emitter.hooks
            note_interrupted(error, self._event_log(), hooks, chosen, before=emitted)
            raise
        return (chosen, items) if chosen else None

    async def _emit_chunk(
        self, items: list[Item], events: Sequence[Event[Any]], before: int
    ) -> None:
        event_log, done, items = self._event_log(), 0, self.emitter.signed(items)

        async def append() -> None:
            nonlocal done
            await self._register(event_log, [item[0] for item in items[done:]])
            began = time_ms()
            try:
                await event_log.append_many(items[done:])
            except BaseException as error:
                # The events before the failure are confirmed; retry only the rest.
                done += getattr(error, "appended", 0)
                items[done:] = tried_at(began, items[done:])
                raise

        try:
            await self.persist(append, sum(len(item[1]) for item in items))
        except BaseException as error:
            hooks = self.emitter.hooks
            note_interrupted(error, event_log, hooks, events, appended=done, before=before)
            raise
        if self.emitter.hooks is not None:
            self.emitter.hooks.appended(events)

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._event_log().close()

    async def _register(self, event_log: AsyncEventLog, domains: Iterable[str]) -> None:
        new = self._known_domains.missing(event_log, domains)
        if new:
            await event_log.register_domains(new)
            self._known_domains.add(new)

    async def persist(self, call: Callable[[], Awaitable[None]], size: int) -> None:
        """Repeat the call while Redis is away, for at most `emit_timeout`; see `persist`."""
        seconds = self.settings.emit_timeout + transfer_time(size)
        next_pause = pauses(seconds)
        tries, unwritten = 0, True
        while True:
            tries += 1
            try:
                return await call()
            except redis.RedisError as error:
                unwritten = unwritten and nothing_written(error)
                pause = next_pause() if is_transient(error) else None
                if pause is None:
                    url = self.settings.redis_url
                    raise explain(
                        error, url=url, tries=tries, seconds=seconds, unwritten=unwritten
                    ) from error
                await asyncio.sleep(pause)


async def _each(events: Emissions) -> AsyncIterator[Emission | Mapping[str, Any]]:
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield event
    else:
        for event in events:
            yield event
