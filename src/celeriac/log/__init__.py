from celeriac.log.aio import AsyncLog, ImmediateLog
from celeriac.log.clock_step import ClockStep
from celeriac.log.log import (
    Entry,
    EventLog,
    Group,
    Trimmed,
    Volume,
    entry_key,
    entry_time_ms,
    is_entry,
)

__all__ = [
    "AsyncLog",
    "ClockStep",
    "Entry",
    "EventLog",
    "Group",
    "ImmediateLog",
    "Trimmed",
    "Volume",
    "entry_key",
    "entry_time_ms",
    "is_entry",
]
