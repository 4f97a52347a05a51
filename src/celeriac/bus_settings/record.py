"""The record of a bus's settings: how it is written and read, and how it differs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from celeriac.settings import BUS_WIDE, Settings, parse_number

# Beside the settings: the time (ms) before which the matrix may have forgotten rows that today's
# `dedup_window` would have kept.
REMEMBERS_FROM = "remembers_from_ms"


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that this process was given, and that the bus has another value for."""

    name: str
    here: int | float
    bus: int | float

    def __str__(self) -> str:
        return (
            f"CELERIAC_{self.name.upper()}={format_number(self.here)} is ignored: the bus uses "
            f"{self.name}={format_number(self.bus)}. Remove it here, or run `celeriac config set "
            f"{self.name} {format_number(self.here)}` to change it for every service"
        )


@dataclass(frozen=True, slots=True)
class Record:
    """`values` are the settings that were written and can be read, `faults` says of each other
    one what is wrong."""

    values: Mapping[str, int | float]
    faults: tuple[str, ...] = ()
    kept_since_ms: int = 0

    def over(self, own: Settings) -> Settings:
        """Return `own` with the values of the bus in it."""
        return replace(own, **self.values)  # type: ignore[arg-type]

    def differences(self, own: Settings) -> list[Difference]:
        """Return what `own` was given and the bus has otherwise, in the order of the settings."""
        return [
            Difference(name, getattr(own, name), self.values[name])
            for name in BUS_WIDE
            if name in own.given and name in self.values and getattr(own, name) != self.values[name]
        ]


def read_record(stored: Mapping[str, str]) -> Record:
    """Return the record from the texts that are stored. Bad ones are left out and named."""
    values: dict[str, int | float] = {}
    faults = []
    for name in BUS_WIDE:
        if name not in stored:
            continue
        try:
            values[name] = parse_number(name, stored[name])
        except ValueError as error:
            faults.append(
                f"The bus's {name} is unreadable: {stored[name][:40]!r} ({error}). Run `celeriac "
                f"config set {name} VALUE`; until then each process uses its own"
            )
    since = stored.get(REMEMBERS_FROM, "")
    remembers_from = int(since) if since.isascii() and since.isdigit() and len(since) < 16 else 0
    return Record(values, tuple(faults), remembers_from)


def write_record(settings: Settings) -> dict[str, str]:
    """Return the texts of all settings of the bus."""
    return {name: format_number(getattr(settings, name)) for name in BUS_WIDE}


def format_number(value: int | float) -> str:
    """Return the shortest text that is read as the same number: `5`, `0.25`, `604800`."""
    return str(int(value)) if value == int(value) else repr(value)
