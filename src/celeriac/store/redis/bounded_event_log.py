"""The event log in Redis with backpressure: appending waits or is refused above a limit."""

from __future__ import annotations

import time
from collections.abc import Sequence

from celeriac.errors import LogFull
from celeriac.event_log.backpressure import (
    Backlog,
    CreditLimiter,
    credited_end,
    full_message,
    waiting,
)
from celeriac.event_log.event_log import EntryKind, Item
from celeriac.redis_url import is_cluster
from celeriac.settings import Settings
from celeriac.store.redis.event_log import RedisEventLog
from celeriac.store.redis.script import Script

BACKLOG = Script("backlog.lua")


class BoundedRedisEventLog(RedisEventLog):
    """Implements EventLog with a limit.

    If `max_backlog` events of a domain are unfinished, appending blocks for at most `emit_timeout`
    (or not at all, see `log_full`) and then raises LogFull.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.bound = CreditLimiter(settings.max_backlog)

    def backlog(self, domain: str) -> Backlog:
        """Return the unfinished events. Blocks for one round trip."""
        return backlog_of(self._known_groups.run(self.client, BACKLOG, domain, (self.keys.chunks,)))

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        if not self._is_bounded():
            return super().append(domain, body, kind, since_ms)
        if not self.bound.use(domain):
            if self.bound.had_spare(domain):
                return self._append_and_refill((domain, body, kind, since_ms))
            self._admit(domain)
        return super().append(domain, body, kind, since_ms)

    def append_many(self, items: Sequence[Item]) -> int:
        if not self._is_bounded():
            return super().append_many(items)
        done = 0
        while done < len(items):
            end = credited_end(self.bound, items, done)
            try:
                if end > done:
                    super().append_many(items[done:end])
                else:
                    self._wait_for_credit(items[done][0])
            except BaseException as error:
                error.appended = done + getattr(error, "appended", 0)  # type: ignore[attr-defined]
                raise
            done = end
        return done

    def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> int:
        if self._is_bounded():
            self._admit(domain)
        return super().append_delayed(domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind)

    def _is_bounded(self) -> bool:
        self.bound.max_backlog = self.bus.current.max_backlog
        return self.bound.max_backlog > 0

    def _append_and_refill(self, item: Item) -> str:
        """Append an event and refill the credit of its domain, in one round trip."""
        domain = item[0]
        [(command, _)] = self._packing.commands([item], self.bus.current.dedup_window)
        keys, arguments = self._known_groups.call(BACKLOG, domain, (self.keys.chunks,))
        backlog = BACKLOG.of_keys(keys, *arguments)
        entry, answer = self.client.execute_many([command, backlog])
        if isinstance(entry, Exception):
            raise entry
        known = self._known_groups.learn(domain, answer)
        if not known and not isinstance(answer, Exception):  # otherwise the next append refills
            self.bound.refill(domain, backlog_of(answer).events)
        return str(entry.decode())

    def _admit(self, domain: str) -> None:
        while not self.bound.use(domain):
            self._wait_for_credit(domain)

    def _wait_for_credit(self, domain: str) -> None:
        """Block until events may be appended. Raises LogFull."""
        for pause in waiting(self.settings):
            backlog = self.backlog(domain)
            if self.bound.refill(domain, backlog.events):
                return
            if pause is None:
                raise LogFull(full_message(domain, backlog, self.bound.max_backlog))
            time.sleep(pause)


def bounded_log(settings: Settings) -> RedisEventLog:
    """Return the event log of one server or of a cluster. Does not connect yet."""
    if not is_cluster(settings.redis_url):
        return BoundedRedisEventLog(settings)
    from celeriac.store.redis.cluster_event_log import RedisClusterEventLog

    class BoundedRedisClusterEventLog(BoundedRedisEventLog, RedisClusterEventLog):
        """BoundedRedisEventLog for a cluster."""

    return BoundedRedisClusterEventLog(settings)


def backlog_of(answer: list[object]) -> Backlog:
    events, handler = answer
    return Backlog(int(events), handler.decode())  # type: ignore[call-overload, attr-defined]
