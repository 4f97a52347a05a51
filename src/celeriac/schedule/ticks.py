"""The times of a schedule, in ms since the epoch. Pure.

`next_after` returns the first tick after a time, `last_until` the last one up to and at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from celeriac.errors import ConfigurationError
from celeriac.extra import needing


class Ticks(Protocol):
    def next_after(self, ms: int) -> int: ...

    def last_until(self, ms: int) -> int: ...


@dataclass(frozen=True, slots=True)
class EveryTicks:
    """Every multiple of `every_ms` since 1970: the same ticks, whenever it was declared."""

    every_ms: int

    def next_after(self, ms: int) -> int:
        return (ms // self.every_ms + 1) * self.every_ms

    def last_until(self, ms: int) -> int:
        return ms // self.every_ms * self.every_ms


@dataclass(frozen=True, slots=True)
class CronTicks:
    """The times of a cron expression, by the clocks of a time zone, as Debian's cron has them.

    A time that is skipped in spring comes right after the gap. A time that is there twice in autumn
    comes once, unless the expression has `*` in the hour.
    """

    cron: str
    tz: str

    def next_after(self, ms: int) -> int:
        return _ms(next(self._times(ms)))

    def last_until(self, ms: int) -> int:
        # The times before a time do not include it.
        tick = _ms(next(self._times(ms + 1, is_reverse=True)))
        while (following := self.next_after(tick)) <= ms:
            tick = following
        return tick

    def _times(self, ms: int, *, is_reverse: bool = False) -> Iterator[datetime]:
        from cronsim import CronSim

        at = datetime.fromtimestamp(ms / 1000, UTC).astimezone(ZoneInfo(self.tz))
        return CronSim(self.cron, at, reverse=is_reverse)


def cron_ticks(cron: str, tz: str) -> CronTicks:
    """Return the ticks of an expression. Raises ConfigurationError for a wrong one, or zone."""
    with needing("cron", "bus.schedule(cron=...)"):
        from cronsim import CronSimError
    try:
        ZoneInfo(tz)
    except (ValueError, OSError, LookupError, TypeError):
        raise ConfigurationError(
            f"tz={tz!r}: no such time zone. Give a name of the IANA database: 'Europe/Berlin'"
        ) from None
    ticks = CronTicks(cron, tz)
    try:
        ticks.next_after(0)
    except (CronSimError, StopIteration, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"cron={cron!r}: {error or 'no time fits'}. Give minute, hour, day of the month, month "
            "and day of the week: '0 6 * * MON-FRI'"
        ) from None
    return ticks


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
