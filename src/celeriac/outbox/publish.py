"""Publishing rows of the outbox: in their order, many at a time."""

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
from celeriac.event_log.registered import kind_of_id, kind_postponed
from celeriac.outbox.fsync_barrier import FsyncBarrier
from celeriac.settings import Settings
from celeriac.store.redis.connection import answer_time, explain


@dataclass(frozen=True, slots=True)
class OutboxRow:
    id: int
    event_id: str
    domain: str
    body: bytes
    at_ms: int | None

    @classmethod
    def of(cls, values: Sequence[Any]) -> OutboxRow:
        id, event_id, domain, body, at_ms = values
        return cls(int(id), str(event_id), str(domain), bytes(body), at_ms and int(at_ms))


@dataclass(slots=True)
class Published:
    """`done` are ids of rows that are in the log, `failed` of those that cannot be, with the
    reason. `full` are domains whose logs take no more for now, with what the log said. `failure`
    is why the rest was not tried, or None."""

    done: list[int] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    full: dict[str, LogFull] = field(default_factory=dict)
    failure: CeleriacError | None = None


class Publisher:
    """Publishes into one log. Keeps which domains it has announced."""

    def __init__(self, settings: Settings, event_log: EventLog) -> None:
        self.settings = settings
        self._log = event_log
        self._announced = KnownDomains()
        self._types: dict[int, str] = {}
        self._disk = FsyncBarrier(settings) if settings.outbox_fsync else None

    def publish(self, rows: Sequence[OutboxRow]) -> Published:
        """Appends the rows in their order, and holds those that are for later.

        Blocks for a round trip, at most half of `emit_timeout`; with `outbox_fsync` until it is on
        the server's disk. Never raises for what a row is or
        Redis says.
        """
        published = Published()
        self._types.clear()
        fit = [row for row in rows if self._fits(row, published)]
        now: Sequence[OutboxRow] = [row for row in fit if row.at_ms is None]
        try:
            server = self._disk.begin() if self._disk else ""
            self._announce(fit)
            try:
                while now:
                    now = self._append(now, published)
                for row in fit:
                    if row.at_ms is not None and row.domain not in published.full:
                        self._postpone(row, published)
            finally:
                self._to_disk(server, published)
        except redis.RedisError as error:
            published.failure = self._explained(error)
        except BusUnavailable as error:
            published.failure = error
        self._log.note_emitted([self._types[id] for id in published.done])
        return published

    def _to_disk(self, server: str, published: Published) -> None:
        """Keeps as done what is on the disk; else nothing is, and it is published again."""
        if self._disk is None or not published.done:
            return
        done, published.done = published.done, []
        self._disk.end(server)
        published.done = done

    def _fits(self, row: OutboxRow, published: Published) -> bool:
        try:
            event = decode(row.body)
            self._types[row.id] = event.type
            if event.domain != row.domain:
                raise InvalidEvent(f"the event is of {event.domain}, the row of {row.domain}")
            most = self.settings.max_event_bytes
            # As at the emit, before it was signed.
            if (size := unsigned_size(row.body)) > most:
                raise EventTooLarge(
                    f"{event.type} {event.id} is {size} bytes, over the limit of {most}; "
                    "raise CELERIAC_MAX_EVENT_BYTES of the relay"
                )
        except InvalidEvent as error:
            published.failed.append((row.id, _described(error)))
            return False
        return True

    def _append(self, rows: Sequence[OutboxRow], published: Published) -> Sequence[OutboxRow]:
        """Returns the rows that are left behind one that was refused for itself."""
        try:
            self._log.append_many([(row.domain, row.body, _kind_of(row), 0) for row in rows])
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

    def _postpone(self, row: OutboxRow, published: Published) -> None:
        try:
            kind = kind_postponed(_kind_of(row), signed=is_signed(row.body))
            self._log.append_delayed(
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

    def _announce(self, rows: Sequence[OutboxRow]) -> None:
        new = self._announced.missing(self._log, (row.domain for row in rows))
        if new:
            self._log.register_domains(new)
            self._announced.add(new)

    def _explained(self, error: redis.RedisError) -> CeleriacError:
        settings = self.settings
        return explain(error, url=settings.redis_url, tries=1, seconds=answer_time(settings))


def _kind_of(row: OutboxRow) -> EntryKind:
    return kind_of_id(row.event_id, signed=is_signed(row.body))[0]


def of_one_key(error: redis.RedisError) -> bool:
    """Whether Redis refused one row for what its key is, and will take others: the stream's name
    is taken by something else, or the domain is not this user's to write."""
    return isinstance(error, NoPermissionError) or str(error).startswith("WRONGTYPE")


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:1000]
