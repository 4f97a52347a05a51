"""Logs that write into a transaction instead of Redis: the appending half, for an emitter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from celeriac import transaction
from celeriac.errors import ConfigurationError
from celeriac.event import read_header
from celeriac.event_log import EntryKind, Item
from celeriac.outbox.write import Values, awrite, row, write

if TYPE_CHECKING:
    from celeriac.outbox.session import AnyAsyncSession, AnySession


class OutboxEventLog:
    """The appending half of EventLog. What it is given is published if the transaction commits."""

    def __init__(self, write: Callable[[Sequence[Values]], None]) -> None:
        self._write = write

    def register_domains(self, domains: Iterable[str]) -> None:
        """The relay's business."""

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        self._write([row(read_header(body).id, domain, body)])
        return ""

    def append_many(self, items: Sequence[Item]) -> int:
        self._write([row(read_header(body).id, domain, body) for domain, body, *_ in items])
        return len(items)

    def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> int:
        one = row(read_header(body).id, domain, body, delay_ms, at_ms)
        self._write([one])
        return int(one["at_ms"])

    def note_emitted(self, types: Iterable[str]) -> None:
        """The relay's business."""


class AsyncOutboxEventLog:
    """An AsyncLog. See OutboxLog."""

    def __init__(self, write: Callable[[Sequence[Values]], Awaitable[None]]) -> None:
        self._write = write

    async def register_domains(self, domains: Iterable[str]) -> None:
        """The relay's business."""

    async def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> None:
        await self._write([row(read_header(body).id, domain, body)])

    async def append_many(self, items: Sequence[Item]) -> None:
        await self._write([row(read_header(body).id, domain, body) for domain, body, *_ in items])

    async def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> None:
        await self._write([row(read_header(body).id, domain, body, delay_ms, at_ms)])

    def note_emitted(self, types: Iterable[str]) -> None:
        """The relay's business."""

    async def close(self) -> None:
        """The caller's business."""


def log_in(session: AnySession | None, using: str | None) -> OutboxEventLog | None:
    """The log in this session's transaction, or in the one that Django has open; None where there
    is none, and what is emitted goes to Redis.

    Raises ConfigurationError for `using` without Django.
    """
    if session is not None:
        if using is not None:
            raise ConfigurationError("give session= (SQLAlchemy) or using= (Django), not both")
        return OutboxEventLog(partial(write, session))
    if transaction.find is None:
        raise ConfigurationError(
            f"using={using!r} names a database of Django; put 'celeriac.contrib.django' into "
            "INSTALLED_APPS. With SQLAlchemy give session="
        )
    found = transaction.find(using)
    return None if found is None else OutboxEventLog(found)


def async_log_in(session: AnyAsyncSession) -> AsyncOutboxEventLog:
    """The log in this session's transaction."""
    wanted: Any = session
    return AsyncOutboxEventLog(partial(awrite, wanted))
