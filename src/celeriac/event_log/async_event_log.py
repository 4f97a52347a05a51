"""Appending for coroutines: what `aemit` needs of a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from celeriac.event_log.event_log import EntryKind, EventLog, Item


class AsyncEventLog(Protocol):
    """The appending half of EventLog, with the same promises, for any running event loop.

    Nothing blocks the loop. Raises redis.RedisError as it came; callers translate.
    """

    async def register_domains(self, domains: Iterable[str]) -> None:
        """Puts domains into the set of domains. Idempotent."""

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        """Appends one event, whole or not at all."""

    async def append_many(self, items: Sequence[Item]) -> None:
        """Appends events in their order; the first failure has `appended` set."""

    async def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> None:
        """Holds an event until its time."""

    def note_emitted(self, types: Iterable[str]) -> None:
        """Counts one event of each type as emitted. Never blocks, never raises."""

    async def close(self) -> None:
        """Closes what was opened in the running event loop. Idempotent."""


class SyncLogAdapter:
    """An AsyncLog on an EventLog that never waits, as the one in memory."""

    def __init__(self, event_log: EventLog) -> None:
        self._log = event_log

    async def register_domains(self, domains: Iterable[str]) -> None:
        self._log.register_domains(domains)

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        self._log.append(domain, body, kind, since_ms)

    async def append_many(self, items: Sequence[Item]) -> None:
        self._log.append_many(items)

    async def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> None:
        self._log.append_delayed(domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind)

    def note_emitted(self, types: Iterable[str]) -> None:
        self._log.note_emitted(types)

    async def close(self) -> None:
        return None
