"""Times on the command line: `2026-11-23T07:00Z`, or an age such as `1h30m`."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_AGO = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_SECONDS = (86400, 3600, 60, 1)


if TYPE_CHECKING:
    MomentType = click.ParamType[datetime]
    DurationType = click.ParamType[float]
else:
    MomentType = DurationType = click.ParamType  # not generic before click 8.4


class TimeParam(MomentType):
    """A time (ISO 8601; UTC if it has no zone) or a duration before now."""

    name = "time|duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        seconds = age_seconds(value)
        if seconds is not None:
            return datetime.fromtimestamp(max(0.0, time.time() - seconds), UTC)
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            self.fail(
                f"time is invalid: {value!r}. Write 2026-11-23T07:00Z, or an age such as 15m or 2d."
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Duration(DurationType):
    """A duration in seconds, written as 90, 1.5 or 1h30m."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = value if isinstance(value, (int, float)) else _plain_seconds(value)
        if seconds is None:
            seconds = age_seconds(str(value))
        if seconds is None or not 0 < seconds < math.inf:
            self.fail(
                f"duration is invalid: {value!r}. Write 30s, 15m, 2h, 1d12h or a number of seconds."
            )
        return float(seconds)


DURATION = Duration()


def _plain_seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def age_seconds(text: str) -> int | None:
    """Return the seconds of `1d12h`; None if the text has no units or is invalid."""
    match = _AGO.fullmatch(text.strip())
    if not text.strip() or match is None:
        return None
    parts = zip(match.groups(), _SECONDS, strict=True)
    return sum(int(number or 0) * unit for number, unit in parts)


def since_option(help: str, *, required: bool = False) -> Callable[[F], F]:
    """Return the option `--since`."""
    return click.option(
        "--since", type=TimeParam(), metavar="TIME|DURATION", help=help, required=required
    )
