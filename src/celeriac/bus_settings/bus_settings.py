"""The settings of the bus, as cached by one process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import redis

from celeriac.bus_settings.record import (
    RETAINED_SINCE,
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
    """The settings of this process, with the values that all processes of the bus share.

    The first worker writes the record, which then overrides the settings of each process. Without a
    store, and until the record is read, a process uses its own. Thread-safe and fork-safe without a
    lock: at worst, two threads read the record at once.
    """

    def __init__(
        self,
        local: Settings,
        store: SettingsStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.local = local
        self._store = store
        self._clock = clock
        self._current = local
        self._record = Record({})
        self._stored: Mapping[str, str] = {}
        self._read_again_at = float("inf") if store is None else float("-inf")
        self._warned: set[str] = set()

    @property
    def current(self) -> Settings:
        """The settings of this process with the values of the bus.

        Blocks for a round trip if the cached record is stale. If the read fails, it returns the
        cached values; the caller's next command reports the failure.
        """
        if self._clock() >= self._read_again_at:
            self._read_quietly()
        return self._current

    @property
    def is_stale(self) -> bool:
        """Whether `current` would block to read the record.

        Coroutines then read it themselves and call `learn`.
        """
        return self._clock() >= self._read_again_at

    @property
    def record(self) -> Record:
        """The record last read."""
        return self._record

    @property
    def kept_since_ms(self) -> int:
        """The time before which rows of the matrix may be missing, because `dedup_window` was
        increased."""
        return self._record.kept_since_ms

    @property
    def differences(self) -> list[Difference]:
        """The given settings of this process that differ from those of the bus."""
        return self._record.differences(self.local)

    def mark_fresh(self) -> None:
        """Treat the cached record as fresh, because the caller reads it or could not."""
        if self._store is not None:
            self._read_again_at = self._clock() + self._store.fresh_for

    def learn(self, stored: Mapping[str, str]) -> None:
        """Cache a record that was read, and log a warning for each new fault."""
        self.mark_fresh()
        if stored != self._stored:
            self._stored = stored
            self._record = read_record(stored)
            self._current = self._record.applied_to(self.local)
            for fault in self._record.faults:
                self._warn(fault)

    def refresh(self) -> None:
        """Read the record now. Raises redis.RedisError."""
        if self._store is not None:
            self.learn(self._store.read())

    def establish(self) -> None:
        """Read the record, add missing settings, and log a warning for each difference once.

        If Redis lost the record, the values last read by this worker are restored. Raises
        redis.RedisError.
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
        """Change a setting of the bus; return its value before and after.

        Processes apply it within seconds. Raises ConfigurationError, redis.RedisError.
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
            retained_ms = self._store.now_ms() - int(before * 1000)
            values[RETAINED_SINCE] = str(max(retained_ms, self.kept_since_ms))
        self._store.write(values)
        self.refresh()
        return before, value

    def _read_quietly(self) -> None:
        # First, so that other threads use the cached values during the read, and calls do not
        # repeat a read that failed.
        self.mark_fresh()
        try:
            self.refresh()
        except redis.RedisError as error:
            logger.debug("celeriac: the settings of the bus cannot be read: %s", error)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("celeriac: %s", text)
