"""A worker without processes, which alternates between dispatcher and executor of one bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from itertools import count
from random import Random
from typing import TypeVar

from celeriac.broadcast import BroadcastListener
from celeriac.bus import EventBus
from celeriac.delivery import Group
from celeriac.dispatcher import Chunk, Dispatcher
from celeriac.dispatcher.groups import join
from celeriac.executor import Executor, Report
from celeriac.handler import Handler
from celeriac.registry import WorkerRecord
from celeriac.service import worker_name
from celeriac.settings import VERSION

T = TypeVar("T")
PREFETCH = 50


class MemoryWorker:
    """Runs the handlers of its bus. `join` adds new handlers."""

    def __init__(self, bus: EventBus) -> None:
        self.service = bus.service
        self.groups: dict[Group, Handler] = {}
        self._executor = Executor(self.service)
        self._sent: list[Chunk] = []
        self._served: frozenset[str] = frozenset()
        self._served_before: set[str] = set()
        self._domains: frozenset[str] = frozenset()
        self._dispatcher: Dispatcher | None = None
        self._broadcasts: BroadcastListener | None = None

    def join(self) -> None:
        """Create the groups of new handlers and domains, so that handlers get later events."""
        if self._broadcasts is None:
            event_log = self.service.backend.event_log
            self._broadcasts = BroadcastListener(self.service, ("worker", "process"), event_log)
            self._broadcasts.begin()
        domains = self.service.backend.event_log.domains()
        subscribed = self._served != self.service.handlers.keys() or (
            self._dispatcher is None and bool(self.service.schedules)
        )
        if subscribed or domains != self._domains:
            self._served, self._domains = frozenset(self.service.handlers), domains
            self._join_groups(domains)
        if subscribed:
            self._dispatcher = Dispatcher(
                self.service,
                self._sent.append,
                processes=1,
                describe=self._describe,
                # A clock that advances an hour at each call, so that no maintenance waits for real
                # time.
                clock=count(0.0, 3600.0).__next__,
            )

    def restart(self) -> None:
        """Begin again as a new worker: the chunks of the old one stay with it until their lease
        expires."""
        self.service.worker = worker_name(self.service.settings.service)
        self._executor = Executor(self.service)
        self._sent.clear()
        self._served = frozenset()

    def dispatch(self, random: Random | None) -> list[Chunk]:
        """Run the dispatcher once; return the chunks it sent, shuffled by `random` if given."""
        self.join()
        if self._dispatcher is None:  # neither a handler nor a schedule yet
            return []
        self._dispatcher.processes = 1 if random is None else PREFETCH
        self._dispatcher.run_once()
        if random is not None and self._requeue_chunks():
            self._dispatcher.run_once()
        sent, self._sent[:] = list(self._sent), []
        if random is not None:
            random.shuffle(sent)
        return sent

    def broadcast(self) -> int:
        """Call broadcast handlers with the new events, as one instance; return how many calls."""
        broadcasts = self._broadcasts
        return 0 if broadcasts is None else _outside_of_loops(broadcasts.handle_new)

    def _requeue_chunks(self) -> bool:
        """Send the deliveries of chunks separately, since those of a chunk run in order."""
        chunks = [chunk for chunk in self._sent if chunk.id]
        for chunk in chunks:
            self._sent.remove(chunk)
            self.service.backend.chunks.requeue(self.service.worker, chunk.group, chunk.id)
        return bool(chunks)

    def run(self, chunk: Chunk, random: Random | None) -> Report:
        """Execute the chunk in this process; return its report."""
        if chunk.id:
            return _outside_of_loops(
                lambda: self._executor.chunks.execute(
                    chunk.handler, chunk.group.domain, chunk.id, more=chunk.more
                )
            )
        pairs = chunk.pairs
        if random is not None:
            random.shuffle(pairs)
        return _outside_of_loops(
            lambda: self._executor.execute(chunk.handler, chunk.group.domain, pairs)
        )

    def _join_groups(self, domains: frozenset[str]) -> None:
        handlers = list(self.service.handlers.values())
        records = join(self.service.backend, handlers, domains)
        for handler in handlers:
            # paused=True is for deployments; in a test the handler runs.
            if handler.paused and handler.id not in self._served_before:
                self.service.backend.circuits.resume(handler.id)
        self._served_before |= {handler.id for handler in handlers}
        self.groups = {
            handler.group(domain): handler
            for handler, record in zip(handlers, records, strict=True)
            for domain in record.since
        }

    def _describe(self) -> WorkerRecord:
        return WorkerRecord(
            name=self.service.worker,
            service=self.service.settings.service,
            hostname="memory",
            pid=0,
            pool="memory",
            processes=1,
            queues=(),
            broadcasts=self.service.broadcast_records(),
            version=VERSION,
        )


def _outside_of_loops(call: Callable[[], T]) -> T:
    """Return the result of the call, made in a thread without a running event loop.

    Async handlers need such a thread, and an async test has an event loop in its own thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass  # called below, so that this error is no context of the handler's own
    else:
        return _thread().submit(copy_context().run, call).result()
    return call()


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "celeriac-testing")
