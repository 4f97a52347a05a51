"""What both kinds of Database do alike: taking turns, and waiting."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from celeriac.errors import ConfigurationError
from celeriac.outbox import statement
from celeriac.outbox.database import POLL, POLL_WOKEN, Execute
from celeriac.outbox.listener import Doorbell
from celeriac.outbox.lock import file_lock


class LeaderLock(ABC):
    """See Database. `_doorbell` is there while a connection to PostgreSQL is open."""

    _doorbell: Doorbell | None = None

    @property
    @abstractmethod
    def kind(self) -> str:
        """postgresql, mysql (MariaDB too), sqlite, or what is not supported."""

    @property
    @abstractmethod
    def sqlite_name(self) -> str:
        """What SQLite was told to open."""

    @abstractmethod
    def ask(self) -> AbstractContextManager[Execute]: ...

    @abstractmethod
    def close(self) -> None: ...

    @contextmanager
    def turn(self) -> Iterator[Execute | None]:
        if self.kind == "sqlite":
            with file_lock(self.sqlite_name) as free:
                if not free:
                    yield None
                    return
                with self.ask() as execute:
                    yield execute
            return
        lock = statement.LOCKS.get(self.kind)
        if lock is None:
            raise ConfigurationError(
                f"the outbox is not made for {self.kind}: use PostgreSQL, MySQL, MariaDB or SQLite"
            )
        try:
            with self.ask() as execute:
                yield execute if execute(lock, {})[0][0] else None
        finally:
            if self.kind == "mysql":
                # It ends with the connection, which pool processes forked meanwhile would keep
                # open after this process has died.
                self.close()

    @property
    def poll(self) -> float:
        return POLL_WOKEN if self._doorbell is not None and self._doorbell.works else POLL

    def wait(self, seconds: float) -> None:
        if self._doorbell is None:
            time.sleep(seconds)
            return
        try:
            self._doorbell.wait(seconds)
        except Exception:
            self.close()
            raise
