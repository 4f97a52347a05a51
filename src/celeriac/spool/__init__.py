"""The spool: a local file for events while Redis is unreachable. They are appended in order."""

from celeriac.spool.async_event_log import AsyncSpooledEventLog
from celeriac.spool.event_log import SpooledEventLog
from celeriac.spool.file import Spooled, SpoolFile

__all__ = ["AsyncSpooledEventLog", "SpoolFile", "Spooled", "SpooledEventLog"]
