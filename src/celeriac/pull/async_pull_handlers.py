"""Pull handlers for coroutines: calls run in threads, and waiting for deliveries needs none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import redis

from celeriac.cleanup import clean_up
from celeriac.pull.completing import Completed
from celeriac.pull.pull_handlers import Check, PullHandlers, allow
from celeriac.pull.pulled import Pulled, PulledDelivery
from celeriac.pull.reference import Reference
from celeriac.pull.refusal import PullRefused
from celeriac.pull.result import AttemptResult
from celeriac.pull.wakeups import Wakeups
from celeriac.registry import HandlerRecord
from celeriac.service import Service

logger = logging.getLogger(__name__)

THREADS = 16  # calls at once; each takes a few milliseconds

T = TypeVar("T")


class AsyncPullHandlers:
    """The methods of PullHandlers as coroutines, and a fetch that waits. Connects at first use."""

    def __init__(self, service: Service) -> None:
        self.handlers = PullHandlers(service)
        self.wakeups = Wakeups(service, self.handlers)
        self._is_stopping = False
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="celeriac-pull-call")

    async def register(self, id: str, body: Mapping[str, Any]) -> HandlerRecord:
        return await self._call(self.handlers.register, id, body)

    async def unregister(self, id: str) -> bool:
        return await self._call(self.handlers.unregister, id)

    async def record(self, id: str) -> HandlerRecord:
        return await self._call(self.handlers.record, id)

    async def complete(self, id: str, result: AttemptResult) -> Completed:
        completed = await self._call(self.handlers.complete, id, result)
        self.wakeups.follow(id)
        return completed

    async def complete_many(
        self, id: str, results: Sequence[AttemptResult]
    ) -> list[Completed | PullRefused]:
        completed = await self._call(self.handlers.complete_many, id, results)
        self.wakeups.follow(id)
        return completed

    async def renew(self, id: str, reference: Reference, attempt: int) -> int:
        deadline_ms = await self._call(self.handlers.renew, id, reference, attempt)
        self.wakeups.follow(id)
        return deadline_ms

    async def fetch(
        self,
        id: str,
        limit: int,
        wait: float,
        is_gone: Callable[[], Awaitable[bool]],
        check: Check = allow,
    ) -> Sequence[PulledDelivery]:
        """Return up to `limit` deliveries, as soon as there is one; none after `wait` seconds.

        Deliveries of a client that `is_gone` are requeued. `check` is called with the registration
        before deliveries begin. Raises what it raises, PullRefused and redis.RedisError.
        """
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(woken.set)

        try:
            with self.wakeups.waits(id, wake):
                return await self._poll(id, limit, loop.time() + wait, woken, is_gone, check)
        finally:
            # A wakeup that this request did not use, or deliveries that it left.
            if woken.is_set():
                self.wakeups.wake_next(id)

    async def _poll(
        self,
        id: str,
        limit: int,
        deadline: float,
        woken: asyncio.Event,
        is_gone: Callable[[], Awaitable[bool]],
        check: Check,
    ) -> Sequence[PulledDelivery]:
        loop = asyncio.get_running_loop()
        while True:
            woken.clear()
            pulled = await self._fetched(id, limit, check)
            if pulled.deliveries:
                woken.set()
                try:
                    is_unwanted = await is_gone()
                except BaseException:
                    await clean_up(self._release(id, pulled))
                    raise
                if is_unwanted:
                    await clean_up(self._release(id, pulled))
                    return ()
                return pulled.deliveries
            remaining = deadline - loop.time()
            if remaining <= 0 or self._is_stopping or await is_gone():
                return ()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(remaining, pulled.next_poll)):
                    await woken.wait()

    async def _fetched(self, id: str, limit: int, check: Check) -> Pulled:
        """Fetch; if the request is cancelled during this, requeue the deliveries."""
        call = asyncio.ensure_future(self._call(self.handlers.fetch, id, limit, check))
        try:
            pulled = await asyncio.shield(call)
        except asyncio.CancelledError:
            await clean_up(self._release_fetched(id, call))
            raise
        self.wakeups.follow(id)
        return pulled

    async def _release_fetched(self, id: str, call: Awaitable[Pulled]) -> None:
        with suppress(PullRefused, redis.RedisError):
            await self._release(id, await call)

    async def _release(self, id: str, pulled: Pulled) -> None:
        try:
            await self._call(self.handlers.release, id, pulled.deliveries)
        except redis.RedisError as error:
            logger.warning("celeriac: deliveries of %s run again after their lease: %s", id, error)

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def stop_waiting(self) -> None:
        """Answer requests that wait, and from now on without waiting. Idempotent."""
        self._is_stopping = True
        self.wakeups.wake_all()

    def close(self) -> None:
        """End the threads and sign off. Blocks shortly."""
        self.wakeups.close()
        self._threads.shutdown(wait=False)
