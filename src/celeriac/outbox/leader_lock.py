"""The leader lock and the waiting that both kinds of Database share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from celeriac.errors import ConfigurationError
from celeriac.outbox import statement
from celeriac.outbox.database import POLL, POLL_WOKEN, Execute
from celeriac.outbox.listener import PostgresListener
from celeriac.outbox.lock import file_lock


class LeaderLock(ABC):
    """See Database. `_listener` is set while a connection to PostgreSQL is open."""

    _listener: PostgresListener | None = None

    @property
    @abstractmethod
    def kind(self) -> str:
        """postgresql, mysql (also for MariaDB), sqlite, or an unsupported kind."""

    @property
    @abstractmethod
    def sqlite_name(self) -> str:
        """The name of the database as given to SQLite."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Execute]: ...

    @abstractmethod
    def close(self) -> None: ...

    @contextmanager
    def as_leader(self) -> Iterator[Execute | None]:
        if self.kind == "sqlite":
            with file_lock(self.sqlite_name) as acquired:
                if not acquired:
                    yield None
                    return
                with self.transaction() as execute:
                    yield execute
            return
        lock = statement.LOCKS.get(self.kind)
        if lock is None:
            raise ConfigurationError(
                f"the outbox does not support {self.kind}. Use PostgreSQL, MySQL, MariaDB or SQLite"
            )
        try:
            with self.transaction() as execute:
                acquired = execute(lock, {})[0][0]
                yield execute if acquired else None
            if acquired and self.kind == "mysql":
                # After the commit. The end of the connection releases the lock later than the next
                # pass may need it: the server notices a closed connection in its own time.
                with self.transaction() as execute:
                    execute(statement.RELEASE_LOCK, {})
        finally:
            if self.kind == "mysql":
                # The lock ends with the connection. Pool processes that were forked during the pass
                # would keep it open after the death of this process.
                self.close()

    @property
    def poll(self) -> float:
        return POLL_WOKEN if self._listener is not None and self._listener.works else POLL

    def wait(self, seconds: float) -> None:
        if self._listener is None:
            time.sleep(seconds)
            return
        try:
            self._listener.wait(seconds)
        except Exception:
            self.close()
            raise
