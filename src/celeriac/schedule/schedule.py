"""A schedule as it is declared in code."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import msgspec

from celeriac.errors import ConfigurationError
from celeriac.event.attributes import MAX_LENGTH, check_type
from celeriac.schedule.ticks import EveryTicks, Ticks, cron_ticks

Missed = Literal["last", "none", "all"]
MIN_EVERY_MS = 1000
# The longest time of a tick in an id.
_TIME_LENGTH = len("@2026-11-26T05:00:00.123Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule. Service and name identify it; exactly one of `cron` and `every_ms` is given."""

    service: str
    name: str
    type: str
    cron: str = ""
    tz: str = "UTC"
    every_ms: int = 0
    missed: Missed = "last"
    ticks: Ticks

    @property
    def domain(self) -> str:
        return self.type.partition(".")[0]

    @property
    def definition(self) -> bytes:
        """What makes it another schedule if it changes, as JSON."""
        names = ("service", "name", "type", "cron", "tz", "every_ms", "missed")
        return msgspec.json.encode({name: getattr(self, name) for name in names})

    def event_id(self, tick_ms: int) -> str:
        """Return the id of the event of a tick."""
        return tick_id(self.service, self.name, tick_ms)


def tick_id(service: str, name: str, tick_ms: int) -> str:
    """Return the id of the event of a tick: `reports:report.due@2026-11-26T05:00:00Z`."""
    at = datetime.fromtimestamp(tick_ms / 1000, UTC)
    precision = "milliseconds" if tick_ms % 1000 else "seconds"
    return f"{service}:{name}@{at.isoformat(timespec=precision).replace('+00:00', 'Z')}"


def make_schedule(
    type: str,
    *,
    service: str,
    name: str | None = None,
    cron: str | None = None,
    tz: str = "UTC",
    every: float | timedelta | None = None,
    missed: Missed = "last",
) -> Schedule:
    """Return the schedule. Raises ConfigurationError or InvalidEvent, with the remedy."""
    check_type(type)
    name = type if name is None else name
    where = f"bus.schedule for {name!r}: "
    if not isinstance(name, str) or not name.isprintable() or not name or ":" in name:
        raise ConfigurationError(f"{where}name must be printable text without a colon")
    if len(f"{service}:{name}") + _TIME_LENGTH > MAX_LENGTH:
        raise ConfigurationError(
            f"{where}the ids of its events would be longer than {MAX_LENGTH} characters. Give a "
            "shorter name="
        )
    if (cron is None) == (every is None):
        raise ConfigurationError(f"{where}give either cron= or every=")
    if missed not in get_args(Missed):
        raise ConfigurationError(f"{where}missed={missed!r}: must be 'last', 'none' or 'all'")
    every_ms = 0 if every is None else _every_ms(every, where)
    ticks = EveryTicks(every_ms) if cron is None else _cron(cron, tz, where)
    return Schedule(
        service=service,
        name=name,
        type=type,
        cron=cron or "",
        tz=tz,
        every_ms=every_ms,
        missed=missed,
        ticks=ticks,
    )


def _cron(cron: str, tz: str, where: str) -> Ticks:
    try:
        return cron_ticks(cron, tz)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}{error}") from None


def _every_ms(every: float | timedelta, where: str) -> int:
    seconds = every.total_seconds() if isinstance(every, timedelta) else every
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not MIN_EVERY_MS <= seconds * 1000 < 1e13:
        raise ConfigurationError(f"{where}every={every!r}: must be at least 1 second")
    return int(seconds * 1000)
