"""Reads event logs without a consumer group, and calls broadcast handlers with new events."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from threading import Event as Flag
from typing import Any

import redis

from celeriac.contract import read_data
from celeriac.dispatcher.outage import outage_pause
from celeriac.errors import InvalidEvent
from celeriac.event import (
    HandlingContext,
    RawEvent,
    check_domain,
    decode,
)
from celeriac.event.addressing import meant_for
from celeriac.event_log import Entry, EventLog
from celeriac.event_log.follower import Follower
from celeriac.executor.admission import Admission
from celeriac.executor.call import run_awaitable
from celeriac.executor.error_text import describe
from celeriac.handler.broadcast import BroadcastHandler, Scope
from celeriac.service import Service
from celeriac.tenant import is_excluded

logger = logging.getLogger(__name__)

OPEN = nullcontext()
WAIT = 1.0  # seconds until `run` sees that it was stopped


class BroadcastListener:
    """Calls the broadcast handlers of one service in this process, from now on.

    One thread calls `run`; `stop` may be called from any. `gate` is held while handlers run.
    """

    def __init__(
        self,
        service: Service,
        scopes: Collection[Scope],
        event_log: EventLog,
        gate: AbstractContextManager[Any] = OPEN,
    ) -> None:
        self._service = service
        self._scopes = scopes
        self._gate = gate
        self._stopped = Flag()
        patterns = [pattern for handler in self.handlers for pattern in handler.patterns]
        self._follower = Follower(event_log, patterns or ["#"])

    @property
    def handlers(self) -> list[BroadcastHandler]:
        """Return the handlers that it calls."""
        broadcasts = self._service.broadcasts.values()
        return [handler for handler in broadcasts if handler.scope in self._scopes]

    def run(self) -> None:
        """Call handlers until stopped. Wait while Redis is away; then continue where it stopped."""
        failures = 0
        while not self._stopped.is_set():
            try:
                self._follower.wait(WAIT)
                self.handle_new()
                failures = 0
            except redis.RedisError as error:
                failures += 1
                if failures == 1:
                    logger.warning("celeriac: broadcasts wait for Redis: %s", error)
                self._stopped.wait(outage_pause(failures))

    def stop(self) -> None:
        """End `run` at most WAIT seconds later."""
        self._stopped.set()

    def begin(self) -> None:
        """Note what is in the event logs now: only later events are broadcast. Blocks."""
        self._follower.wait(0)

    def handle_new(self) -> int:
        """Call the handlers with the new events; return the number of calls.

        An exception of a handler is logged. Raises redis.RedisError.
        """
        calls = 0
        for domain, entry in self._follower.new():
            with self._gate:
                calls += self._handle(domain, entry)
        return calls

    def _handle(self, domain: str, entry: Entry) -> int:
        try:
            event = decode(entry.body or b"")
            check_domain(event.type, domain)
        except InvalidEvent:
            return 0
        wanted = [
            handler
            for handler in self.handlers
            if meant_for(handler.id, handler.matcher.matches(event.type), event.handlers)
        ]
        for handler in wanted:
            self._call(handler, domain, entry, event)
        return len(wanted)

    def _call(self, handler: BroadcastHandler, domain: str, entry: Entry, event: RawEvent) -> None:
        body, service = entry.body or b"", self._service
        admission = Admission(service.guard, domain, service.settings.sensitive_names)
        try:
            admission.verify(handler, entry.id, body, event)
            if is_excluded(event.tenant, handler.tenants):
                return
            opened = admission.decrypt(event)
            typed = read_data(opened, handler.data_type)
            if handler.when is not None and not handler.when(typed):
                return
            with HandlingContext(typed, 1, handler.id):
                answer = handler.function(typed)
                if inspect.isawaitable(answer):
                    run_awaitable(answer)
        # A plain `sys.exit()` would end the thread, and with it all broadcasts.
        except (Exception, SystemExit) as error:
            shown = admission.shown(error, [body])
            logger.error(
                "%s failed on %s %s: %s; a broadcast is not retried",
                handler.id,
                event.type,
                event.id,
                describe(shown),
                exc_info=shown,
                extra={"event_type": event.type, "event_id": event.id, "handler": handler.id},
            )
