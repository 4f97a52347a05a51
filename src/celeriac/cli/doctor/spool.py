"""Do events wait on this host that Redis has not had?"""

from __future__ import annotations

import os
from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, ok, warn
from celeriac.cli.show import count


def check_spool(snapshot: BusSnapshot) -> Iterator[Finding]:
    """The file of CELERIAC_SPOOL on this host, where there is one."""
    settings = snapshot.settings
    # To look at one that is not there would make it.
    if not settings.spool or not os.path.exists(settings.spool):
        return
    from celeriac.spool import SpoolFile

    waiting = SpoolFile(settings.spool, settings.spool_max_bytes).count()
    if not waiting:
        yield ok("spool", f"nothing waits in {settings.spool}")
        return
    text = f"{count(waiting, 'event')} in {settings.spool} that Redis has not had"
    yield warn("spool", text, "they follow when a process with this spool emits; is one running?")
