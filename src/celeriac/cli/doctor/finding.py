"""The results of the checks, and the snapshot of the bus that they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from celeriac.bus_settings.record import Record
from celeriac.circuit_breaker import Circuit
from celeriac.event_log import ClockStep, GroupInfo, StreamStats
from celeriac.invalid_record import InvalidRecord
from celeriac.outbox.status import OutboxStatus
from celeriac.registry import HandlerRecord, ScaleTargetRecord, WorkerRecord
from celeriac.schedule import StoredSchedule
from celeriac.settings import Settings
from celeriac.tracking import HandlerLag


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check. `remedy` is the action to take; it is empty for `ok`."""

    check: str
    level: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class BusSnapshot:
    """The state of the bus that the checks read.

    `servers` is the INFO of Redis by address: one for each node of a cluster, none for a store in
    memory. `clock_off_ms` is how far this host's clock is ahead of the server's. `outbox` is a text
    if it cannot be read, and None if none is configured. `invalid` are the records that could not
    be read. `clock_steps` are the last backward steps of the server's clock, by domain.
    `scale_targets` are what autoscalers asked last.
    """

    settings: Settings
    servers: Mapping[str, Mapping[str, Any]]
    now_ms: int
    clock_off_ms: int
    handlers: Mapping[str, HandlerRecord]
    workers: Sequence[WorkerRecord]
    lags: Sequence[HandlerLag]
    dead: Mapping[str, int]
    circuits: Mapping[str, Circuit] = field(default_factory=dict)
    outbox: OutboxStatus | str | None = None
    invalid: Sequence[InvalidRecord] = ()
    stream_stats: Sequence[StreamStats] = ()
    groups: Mapping[str, Sequence[GroupInfo]] = field(default_factory=dict)
    clock_steps: Mapping[str, ClockStep] = field(default_factory=dict)
    schedules: Sequence[StoredSchedule] = ()
    scale_targets: Mapping[str, ScaleTargetRecord] = field(default_factory=dict)
    record: Record = field(default_factory=lambda: Record({}))


def ok(check: str, text: str) -> Finding:
    return Finding(check=check, level="ok", text=text)


def warn(check: str, text: str, remedy: str) -> Finding:
    return Finding(check=check, level="warn", text=text, remedy=remedy)


def fail(check: str, text: str, remedy: str) -> Finding:
    return Finding(check=check, level="fail", text=text, remedy=remedy)
