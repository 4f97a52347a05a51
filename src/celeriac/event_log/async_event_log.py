"""The part of an event log that `aemit` uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, Self

from celeriac.event_log.event_log import EntryKind, EventLog, Item


class AsyncEventLog(Protocol):
    """The appending part of EventLog for coroutines, with the same guarantees.

    Never blocks the event loop. Raises redis.RedisError, which callers translate.
    """

    async def register_domains(self, domains: Iterable[str]) -> None:
        """Add domains to the set of domains. Idempotent."""

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        """Append one event atomically."""

    async def append_many(self, items: Sequence[Item]) -> None:
        """Append events in order; the first failure has the attribute `appended`."""

    async def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> None:
        """Store a delayed event."""

    def note_emitted(self, types: Iterable[str]) -> None:
        """Count one event of each type as emitted. Never blocks or raises."""

    async def close(self) -> None:
        """Close the connections of the running event loop. Idempotent."""


class ServerEventLog(AsyncEventLog, Protocol):
    """An AsyncEventLog that appends to the server, rather than to a transaction."""

    async def ping(self) -> None:
        """Return after the server answered. Raises redis.RedisError if it does not."""

    def refusing(self) -> Self:
        """Return the same event log, whose appends raise LogFull at once if there is no room."""
        ...


class SyncLogAdapter:
    """An AsyncEventLog over an EventLog that never blocks, such as the one in memory."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    async def register_domains(self, domains: Iterable[str]) -> None:
        self._event_log.register_domains(domains)

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        self._event_log.append(domain, body, kind, since_ms)

    async def append_many(self, items: Sequence[Item]) -> None:
        self._event_log.append_many(items)

    async def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> None:
        self._event_log.append_delayed(domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind)

    def note_emitted(self, types: Iterable[str]) -> None:
        self._event_log.note_emitted(types)

    async def close(self) -> None:
        return None

    async def ping(self) -> None:
        return None

    def refusing(self) -> Self:
        # Whether the event log in memory waits for room is decided by its own settings.
        return self
