"""Check whether events wait in the spool of this host."""

from __future__ import annotations

import os
from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, ok, warn
from celeriac.cli.show import count


def check_spool(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check the file of CELERIAC_SPOOL on this host, if it exists."""
    settings = snapshot.settings
    # Opening a missing file would create it.
    if not settings.spool or not os.path.exists(settings.spool):
        return
    from celeriac.spool import SpoolFile

    waiting = SpoolFile(settings.spool, settings.spool_max_bytes).count()
    if not waiting:
        yield ok("spool", f"no event waits in {settings.spool}")
        return
    text = f"{count(waiting, 'event')} in {settings.spool} not sent to Redis yet"
    yield warn("spool", text, "start a process with this spool: it sends them")
