"""The spool: events wait in a local file while Redis is away, and follow in their order."""

from celeriac.spool.async_event_log import AsyncSpooledEventLog
from celeriac.spool.event_log import SpooledEventLog
from celeriac.spool.file import Spooled, SpoolFile

__all__ = ["AsyncSpooledEventLog", "SpoolFile", "Spooled", "SpooledEventLog"]
