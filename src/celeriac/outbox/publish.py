"""Publish rows of the outbox in order, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.exceptions import NoPermissionError

from celeriac.emitter.known_domains import KnownDomains
from celeriac.errors import BusUnavailable, CeleriacError, EventTooLarge, InvalidEvent, LogFull
from celeriac.event import decode, is_signed, unsigned_size
from celeriac.event_log import EntryKind, EventLog
from celeriac.event_log.registered import kind_delayed, kind_of_id
from celeriac.outbox.cancellation import cancelled_key
from celeriac.outbox.fsync_barrier import FsyncBarrier
from celeriac.settings import Settings
from celeriac.store.redis.connection import answer_time, explain


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A committed row that is not published yet. `cancels` is the key of the event to cancel."""

    id: int
    event_id: str
    domain: str
    body: bytes
    at_ms: int | None
    cancels: str | None = None

    @classmethod
    def of(cls, values: Sequence[Any]) -> WaitingRow:
        """Return the row from the columns of the query."""
        id, event_id, domain, body, at_ms = values
        body = bytes(body)
        return cls(
            int(id), str(event_id), str(domain), body, at_ms and int(at_ms), cancelled_key(body)
        )


@dataclass(slots=True)
class Published:
    """The result of a batch.

    `done` are the ids of published rows, `failed` those of rows that cannot be published, with the
    reason. `full` are the domains whose event logs are full, with their error. `failure` is the
    error that ended the batch, if any.
    """

    done: list[int] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    full: dict[str, LogFull] = field(default_factory=dict)
    failure: CeleriacError | None = None


class Publisher:
    """Publishes to one event log. Remembers the domains that it has registered."""

    def __init__(self, settings: Settings, event_log: EventLog) -> None:
        self.settings = settings
        self._event_log = event_log
        self._known_domains = KnownDomains()
        self._types: dict[int, str] = {}
        self._fsync = FsyncBarrier(settings) if settings.outbox_fsync else None

    def publish(self, rows: Sequence[WaitingRow]) -> Published:
        """Append the rows in order, schedule the delayed ones, and cancel those.

        Blocks for a round trip, at most half of `emit_timeout`; with `outbox_fsync` until the
        events are on the server's disk. The result has the errors of rows and of Redis.
        """
        published = Published()
        self._types.clear()
        valid = [row for row in rows if self._is_valid(row, published)]
        immediate: Sequence[WaitingRow] = [
            row for row in valid if row.at_ms is None and row.cancels is None
        ]
        try:
            server = self._fsync.begin() if self._fsync else ""
            self._register(valid)
            try:
                while immediate:
                    immediate = self._append(immediate, published)
                for row in valid:
                    # In order: an event that is not published yet cannot be cancelled.
                    if row.domain in published.full:
                        continue
                    if row.cancels is not None:
                        self._event_log.cancel_delayed(row.cancels, [row.domain])
                        published.done.append(row.id)
                    elif row.at_ms is not None:
                        self._append_delayed(row, published)
            finally:
                self._await_fsync(server, published)
        except redis.RedisError as error:
            published.failure = self._explained(error)
        except BusUnavailable as error:
            published.failure = error
        types = [self._types[id] for id in published.done if id in self._types]
        self._event_log.note_emitted(types)
        return published

    def _await_fsync(self, server: str, published: Published) -> None:
        """Wait until the events are on disk; if that fails, no row is done."""
        if self._fsync is None or not published.done:
            return
        done, published.done = published.done, []
        self._fsync.end(server)
        published.done = done

    def _is_valid(self, row: WaitingRow, published: Published) -> bool:
        if row.cancels is not None:
            return True
        try:
            event = decode(row.body)
            self._types[row.id] = event.type
            if event.domain != row.domain:
                raise InvalidEvent(
                    f"the event has the domain {event.domain}, but its row has {row.domain}"
                )
            max_bytes = self.settings.max_event_bytes
            # The size before signing, as at the emit.
            if (size := unsigned_size(row.body)) > max_bytes:
                raise EventTooLarge(
                    f"{event.type} {event.id} is {size} bytes, over the limit of {max_bytes}. "
                    "Raise CELERIAC_MAX_EVENT_BYTES of the relay"
                )
        except InvalidEvent as error:
            published.failed.append((row.id, _described(error)))
            return False
        return True

    def _append(self, rows: Sequence[WaitingRow], published: Published) -> Sequence[WaitingRow]:
        """Append the rows; return those that follow a refused row and are not yet appended."""
        try:
            self._event_log.append_many([(row.domain, row.body, _kind_of(row), 0) for row in rows])
        except LogFull as error:
            appended = int(getattr(error, "appended", 0))
            published.done += [row.id for row in rows[:appended]]
            published.full[rows[appended].domain] = error
            return [row for row in rows[appended:] if row.domain not in published.full]
        except redis.RedisError as error:
            appended = int(getattr(error, "appended", 0))
            published.done += [row.id for row in rows[:appended]]
            if not of_one_key(error):
                raise
            published.failed.append((rows[appended].id, _described(self._explained(error))))
            return rows[appended + 1 :]
        published.done += [row.id for row in rows]
        return ()

    def _append_delayed(self, row: WaitingRow, published: Published) -> None:
        try:
            kind = kind_delayed(_kind_of(row), signed=is_signed(row.body))
            self._event_log.append_delayed(
                row.domain, row.body, delay_ms=None, at_ms=row.at_ms, kind=kind
            )
        except LogFull as error:
            published.full[row.domain] = error
        except redis.RedisError as error:
            if not of_one_key(error):
                raise
            published.failed.append((row.id, _described(self._explained(error))))
        else:
            published.done.append(row.id)

    def _register(self, rows: Sequence[WaitingRow]) -> None:
        new = self._known_domains.missing(self._event_log, (row.domain for row in rows))
        if new:
            self._event_log.register_domains(new)
            self._known_domains.add(new)

    def _explained(self, error: redis.RedisError) -> CeleriacError:
        settings = self.settings
        return explain(error, url=settings.redis_url, tries=1, seconds=answer_time(settings))


def _kind_of(row: WaitingRow) -> EntryKind:
    return kind_of_id(row.event_id, signed=is_signed(row.body))[0]


def of_one_key(error: redis.RedisError) -> bool:
    """Return whether Redis refused one row only: its stream has another type, or ACL forbids it."""
    return isinstance(error, NoPermissionError) or str(error).startswith("WRONGTYPE")


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:1000]
