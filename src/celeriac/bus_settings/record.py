"""The record of a bus's settings: its text form, and differences from local settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from celeriac.settings import BUS_WIDE, Settings, parse_number

# Stored with the settings: the time (ms) before which the matrix may have removed rows that the
# current `dedup_window` would have kept.
RETAINED_SINCE = "remembers_from_ms"


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting whose value in this process differs from that of the bus."""

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
    """A decoded record. `values` are the valid settings, `faults` describes the others."""

    values: Mapping[str, int | float]
    faults: tuple[str, ...] = ()
    kept_since_ms: int = 0

    def applied_to(self, local: Settings) -> Settings:
        """Return the settings with the values of the bus."""
        return replace(local, **self.values)  # type: ignore[arg-type]

    def differences(self, local: Settings) -> list[Difference]:
        """Return the differences of explicitly given settings, in the order of BUS_WIDE."""
        return [
            Difference(name, getattr(local, name), self.values[name])
            for name in BUS_WIDE
            if name in local.given
            and name in self.values
            and getattr(local, name) != self.values[name]
        ]


def read_record(stored: Mapping[str, str]) -> Record:
    """Return the record of the stored texts. Invalid texts become faults."""
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
                f"config set {name} VALUE`; until then each process uses its own value"
            )
    since = stored.get(RETAINED_SINCE, "")
    retained_since_ms = int(since) if since.isascii() and since.isdigit() and len(since) < 16 else 0
    return Record(values, tuple(faults), retained_since_ms)


def write_record(settings: Settings) -> dict[str, str]:
    """Return name → text for all settings of the bus."""
    return {name: format_number(getattr(settings, name)) for name in BUS_WIDE}


def format_number(value: int | float) -> str:
    """Return the shortest text of the number: `5`, `0.25`, `604800`."""
    return str(int(value)) if value == int(value) else repr(value)
