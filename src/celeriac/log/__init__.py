from celeriac.log.log import Entry, EventLog, Group, entry_key, entry_time_ms

__all__ = ["Entry", "EventLog", "Group", "entry_key", "entry_time_ms"]
