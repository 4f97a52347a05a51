"""The event log: protocols, entries and their kinds."""

from celeriac.event_log.async_event_log import AsyncEventLog, ServerEventLog, SyncLogAdapter
from celeriac.event_log.clock_step import ClockStep
from celeriac.event_log.event_log import (
    Entry,
    EntryKind,
    EventLog,
    GroupInfo,
    Item,
    StreamStats,
    Trimmed,
    entry_key,
    entry_time_ms,
    group_info,
    is_entry,
    read_entry,
    time_ms,
    tried_at,
)

__all__ = [
    "AsyncEventLog",
    "ClockStep",
    "Entry",
    "EntryKind",
    "EventLog",
    "GroupInfo",
    "Item",
    "ServerEventLog",
    "StreamStats",
    "SyncLogAdapter",
    "Trimmed",
    "entry_key",
    "entry_time_ms",
    "group_info",
    "is_entry",
    "read_entry",
    "time_ms",
    "tried_at",
]
