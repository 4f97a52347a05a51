"""The spool: events wait in a local file while Redis is away, and follow in their order."""

from celeriac.spool.file import Spooled, SpoolFile
from celeriac.spool.log import SpooledEventLog
from celeriac.spool.log_aio import AsyncSpooledEventLog

__all__ = ["AsyncSpooledEventLog", "SpoolFile", "Spooled", "SpooledEventLog"]
