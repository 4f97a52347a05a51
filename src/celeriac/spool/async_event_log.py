"""The spooling event log for coroutines. Threads write the file, so the event loop never blocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Self

import redis

from celeriac.event_log import EntryKind, Item, ServerEventLog, time_ms, tried_at
from celeriac.spool.event_log import SpooledEventLog, note_partial
from celeriac.store.redis.connection import is_transient
from celeriac.store.redis.refusal import nothing_written


class AsyncSpooledEventLog:
    """The appending part of AsyncEventLog, over the same spool. See SpooledEventLog."""

    def __init__(self, inner: ServerEventLog, spooled: SpooledEventLog) -> None:
        self.inner, self._spooled = inner, spooled

    async def register_domains(self, domains: Iterable[str]) -> None:
        """Register the domains if Redis is reachable; draining registers them, too."""
        names = list(domains)
        if not await self._must_queue():
            await self._try(lambda: self.inner.register_domains(names))

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        items = [(domain, body, kind, since_ms)]

        async def append() -> None:
            began = time_ms()
            try:
                await self.inner.append(*items[0])
            except redis.RedisError as error:
                if not nothing_written(error):
                    items[:] = tried_at(began, items)
                raise

        if await self._must_queue() or not await self._try(append):
            await self._spool(items)

    async def append_many(self, items: Sequence[Item]) -> None:
        appended = 0
        items = list(items)

        async def append() -> None:
            nonlocal appended
            began = time_ms()
            try:
                await self.inner.append_many(items[appended:])
                appended = len(items)
            except BaseException as error:
                appended = note_partial(error, items, appended, began)
                raise

        if not await self._must_queue():
            await self._try(append)
        if appended < len(items):
            try:
                await self._spool(items[appended:])
            except BaseException as error:
                error.appended = appended  # type: ignore[attr-defined]
                raise

    async def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> None:
        due_ms = time_ms() + delay_ms if delay_ms is not None else at_ms
        if await self._must_queue() or not await self._try(
            lambda: self.inner.append_delayed(
                domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind
            )
        ):
            await self._spool([(domain, body, kind, 0)], due_ms)

    def note_emitted(self, types: Iterable[str]) -> None:
        self.inner.note_emitted(types)

    async def close(self) -> None:
        await self.inner.close()

    async def ping(self) -> None:
        await self.inner.ping()

    def refusing(self) -> Self:
        return type(self)(self.inner.refusing(), self._spooled)

    async def _must_queue(self) -> bool:
        # This check takes microseconds; only `must_queue`, which may drain, needs a thread.
        if not self._spooled.file.has_events():
            return False
        return await asyncio.to_thread(self._spooled.must_queue)

    async def _spool(self, items: Sequence[Item], at_ms: int | None = None) -> None:
        await asyncio.to_thread(self._spooled.spool, items, at_ms)

    async def _try(self, call: Callable[[], Awaitable[None]]) -> bool:
        deadline = time.monotonic() + self._spooled.retry_seconds()
        while True:
            try:
                await call()
                return True
            except redis.RedisError as error:
                if not is_transient(error):
                    raise
                if time.monotonic() >= deadline:
                    self._spooled.mark_offline(error)
                    return False
                await asyncio.sleep(0.05)
