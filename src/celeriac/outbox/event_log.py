"""Event logs that append to a database transaction instead of Redis, for emitters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from celeriac import transaction
from celeriac.errors import ConfigurationError
from celeriac.event import read_header
from celeriac.event_log import EntryKind, Item
from celeriac.outbox.cancellation import cancel_row
from celeriac.outbox.write import Values, awrite, row, write

if TYPE_CHECKING:
    from celeriac.outbox.session import AnyAsyncSession, AnySession


class OutboxEventLog:
    """The appending part of EventLog. Events are published if the transaction commits."""

    def __init__(self, write: Callable[[Sequence[Values]], None]) -> None:
        self._write = write

    def register_domains(self, domains: Iterable[str]) -> None:
        """Do nothing: the relay does this."""

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
        values = row(read_header(body).id, domain, body, delay_ms, at_ms)
        self._write([values])
        return int(values["at_ms"])

    def cancel(self, event_id: str, type: str | None, source: str) -> None:
        """Write the row that cancels a delayed event. Raises InvalidEvent without a type."""
        self._write([cancel_row(event_id, type, source)])

    def note_emitted(self, types: Iterable[str]) -> None:
        """Do nothing: the relay does this."""


class AsyncOutboxEventLog:
    """The appending part of AsyncEventLog. See OutboxEventLog."""

    def __init__(self, write: Callable[[Sequence[Values]], Awaitable[None]]) -> None:
        self._write = write

    async def register_domains(self, domains: Iterable[str]) -> None:
        """Do nothing: the relay does this."""

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

    async def cancel(self, event_id: str, type: str | None, source: str) -> None:
        """Write the row that cancels a delayed event. Raises InvalidEvent without a type."""
        await self._write([cancel_row(event_id, type, source)])

    def note_emitted(self, types: Iterable[str]) -> None:
        """Do nothing: the relay does this."""

    async def close(self) -> None:
        """Do nothing: the caller closes its session."""


def outbox_event_log(session: AnySession | None, using: str | None) -> OutboxEventLog | None:
    """Return the event log in the transaction of this session, or in Django's open transaction.

    None without a transaction: then the emit appends to Redis. Raises ConfigurationError for
    `using` without Django.
    """
    if session is not None:
        if using is not None:
            raise ConfigurationError(
                "session= and using= exclude each other. Give session= for SQLAlchemy or using= "
                "for Django"
            )
        return OutboxEventLog(partial(write, session))
    if transaction.find is None:
        raise ConfigurationError(
            f"using={using!r} names a database of Django, but celeriac's app is not installed. Add "
            "'celeriac.contrib.django' to INSTALLED_APPS, or give session= for SQLAlchemy"
        )
    write_rows = transaction.find(using)
    return None if write_rows is None else OutboxEventLog(write_rows)


def async_outbox_event_log(session: AnyAsyncSession) -> AsyncOutboxEventLog:
    """Return the event log in this session's transaction."""
    return AsyncOutboxEventLog(partial(awrite, session))
