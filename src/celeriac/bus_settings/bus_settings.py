"""The bus's settings as one process knows them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import redis

from celeriac.bus_settings.record import (
    REMEMBERS_FROM,
    Difference,
    Record,
    format_number,
    read_record,
    write_record,
)
from celeriac.bus_settings.store import SettingsStore
from celeriac.errors import ConfigurationError
from celeriac.settings import BUS_WIDE, Settings, parse_number

logger = logging.getLogger(__name__)


class BusSettings:
    """Settings that shape what is stored, with the values that hold for every process of the bus.

    The first worker writes the record; from then on it holds, whatever a process was given. Without
    a store, and until the record can be read, a process has its own. Safe to share between threads
    and over forks: there is no lock, at worst two threads read the record at once.
    """

    def __init__(
        self,
        own: Settings,
        store: SettingsStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.own = own
        self._store = store
        self._clock = clock
        self._current = own
        self._record = Record({})
        self._stored: Mapping[str, str] = {}
        self._read_again_at = float("inf") if store is None else float("-inf")
        self._warned: set[str] = set()

    @property
    def current(self) -> Settings:
        """The settings of this process with the bus's values in them.

        Reads the record again where it was read seconds ago: then it blocks for a round trip. If
        that fails, the values last read stay: what the caller does next reports the failure.
        """
        if self._clock() >= self._read_again_at:
            self._read_quietly()
        return self._current

    @property
    def is_stale(self) -> bool:
        """Whether `current` would read the record first. For coroutines, which read it
        themselves and call `learn`."""
        return self._clock() >= self._read_again_at

    @property
    def record(self) -> Record:
        """What was last read."""
        return self._record

    @property
    def kept_since_ms(self) -> int:
        """The time before which rows of the matrix may be gone though the window reaches further:
        it was longer made, and a shorter one had held before."""
        return self._record.kept_since_ms

    @property
    def differences(self) -> list[Difference]:
        """What this process was given and the bus has otherwise."""
        return self._record.differences(self.own)

    def put_off(self) -> None:
        """Count as fresh for a while: the caller is reading the record, or could not."""
        if self._store is not None:
            self._read_again_at = self._clock() + self._store.fresh_for

    def learn(self, stored: Mapping[str, str]) -> None:
        """Take over a record that was read."""
        self.put_off()
        if stored != self._stored:
            self._stored = stored
            self._record = read_record(stored)
            self._current = self._record.over(self.own)
            for fault in self._record.faults:
                self._warn(fault)

    def refresh(self) -> None:
        """Read the record now. Raises redis.RedisError."""
        if self._store is not None:
            self.learn(self._store.read())

    def establish(self) -> None:
        """Read the record, write what it lacks, and log a warning for each setting that this
        worker was given otherwise. Once for each pair of values. Raises redis.RedisError.

        What it lacks because Redis lost it is what this worker had read before.
        """
        if self._store is None:
            return
        stored = self._store.read()
        missing = [name for name in BUS_WIDE if name not in stored]
        if missing:
            values = write_record(self._current)
            self._store.add({name: values[name] for name in missing})
            stored = self._store.read()
        self.learn(stored)
        for difference in self.differences:
            self._warn(str(difference))

    def set(self, name: str, text: str) -> tuple[int | float, int | float]:
        """Change a setting for the whole bus. Processes follow within seconds.

        Returns its value before and after. Raises ConfigurationError, redis.RedisError.
        """
        if self._store is None or name not in BUS_WIDE:
            raise ConfigurationError(
                f"{name} is not a setting of the bus. Choose one of {', '.join(BUS_WIDE)}"
            )
        try:
            value = parse_number(name, text)
        except ValueError as error:
            raise ConfigurationError(f"{name}={text!r} {error}") from None
        self.refresh()
        before: int | float = getattr(self._current, name)
        values = {name: format_number(value)}
        if name == "dedup_window" and value > before:
            reached = self._store.now_ms() - int(before * 1000)
            values[REMEMBERS_FROM] = str(max(reached, self.kept_since_ms))
        self._store.write(values)
        self.refresh()
        return before, value

    def _read_quietly(self) -> None:
        # First, so that other threads go on with what is known, and a server that is away is not
        # asked again by each call.
        self.put_off()
        try:
            self.refresh()
        except redis.RedisError as error:
            logger.debug("the bus's settings cannot be read: %s", error)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("celeriac: %s", text)
