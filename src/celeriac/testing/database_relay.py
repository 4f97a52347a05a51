"""The relay of tests: moves timers and events from databases to the event log in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from celeriac.bus import EventBus
from celeriac.errors import ConfigurationError
from celeriac.handler import Handler
from celeriac.inbox import DjangoInbox
from celeriac.outbox.cancellation import cancelled_key
from celeriac.outbox.database import Database, open_database
from celeriac.outbox.timer import move_due, oldest_timer_ms
from celeriac.process.query import has_processes
from celeriac.process.receiver import ProcessInbox
from celeriac.sql_engine import engines_of
from celeriac.testing.store import RecordingEventLog

_ROWS = "SELECT id, domain, body, at_ms FROM celeriac_outbox ORDER BY id"
_DELETE = "DELETE FROM celeriac_outbox WHERE id = :id"


class DatabaseRelay:
    """Relays the databases of the processes of some buses."""

    def __init__(self, buses: Iterable[EventBus], event_log: RecordingEventLog) -> None:
        self._buses, self._event_log = tuple(buses), event_log
        self._databases: dict[str, Database] = {}
        self._ready: set[str] = set()

    def next_timer_ms(self) -> int | None:
        """Return when the next timer expires; None if none is set."""
        times: list[int] = []
        for database in self._open():
            with database.transaction() as execute:
                at_ms = oldest_timer_ms(execute, database.kind)
            times += [] if at_ms is None else [at_ms]
        return min(times, default=None)

    def relay(self, now_ms: int) -> None:
        """Move expired timers, and publish all committed events."""
        for database in self._open():
            with database.transaction() as execute:
                move_due(execute, database.kind, now_ms)
                for id, domain, body, at_ms in execute(_ROWS, {}):
                    self._publish(str(domain), bytes(body), at_ms)
                    execute(_DELETE, {"id": id})

    def close(self) -> None:
        """Close the connections."""
        for database in self._databases.values():
            database.close()

    def _publish(self, domain: str, body: bytes, at_ms: int | None) -> None:
        cancelled = cancelled_key(body)
        if cancelled is not None:
            self._event_log.cancel_delayed(cancelled, [domain])
        elif at_ms is None:
            self._event_log.append(domain, body)
        else:
            self._event_log.append_delayed(domain, body, delay_ms=None, at_ms=at_ms)

    def _open(self) -> list[Database]:
        """Return the databases that have the tables; new handlers may have been subscribed."""
        for bus in self._buses:
            for handler in bus.service.handlers.values():
                for url in _urls(handler):
                    if url not in self._databases:
                        self._databases[url] = open_database(url)
        for url in self._databases.keys() - self._ready:
            if has_processes(self._databases[url]):
                self._ready.add(url)
        return [self._databases[url] for url in sorted(self._ready)]


def _urls(handler: Handler) -> Iterator[str]:
    """Yield the address of a process's database; nothing for other handlers."""
    process_inbox = handler.receiver.inbox if handler.receiver is not None else None
    if not isinstance(process_inbox, ProcessInbox):
        return
    inbox = process_inbox.inbox
    if isinstance(inbox, DjangoInbox):
        yield f"django:{inbox.using}"
        return
    for engine in engines_of(process_inbox.given):
        if engine.url.get_backend_name() == "sqlite" and not engine.url.database:
            raise ConfigurationError(
                f"in_memory(databases=True): {handler.id} has a SQLite database in memory, which "
                "only one connection can see. Use a file"
            )
        yield engine.url.render_as_string(hide_password=False)
