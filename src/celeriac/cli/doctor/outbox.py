"""Check whether a relay publishes the rows of the outbox."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok, warn
from celeriac.cli.show import count, duration
from celeriac.outbox.database import open_database
from celeriac.outbox.status import OutboxStatus, status
from celeriac.settings import Settings

OLDEST_S = 60.0


def read_outbox(settings: Settings) -> OutboxStatus | str | None:
    """Return the state of the outbox, the error of reading it, or None if it is not configured."""
    if not settings.outbox_url:
        return None
    try:
        database = open_database(settings.outbox_url)
        outbox = status(database)
        database.close()
    except Exception as error:
        # Whatever the driver raises: an unavailable database is a finding, not a failure of doctor.
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return outbox


def check_outbox(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check the age of waiting events and expired timers, and whether rows have failed."""
    outbox = snapshot.outbox
    if outbox is None:
        return
    if isinstance(outbox, str):
        yield fail("outbox", f"cannot be read: {outbox}", "check CELERIAC_OUTBOX_URL")
        return
    waiting = count(outbox.waiting, "event")
    if outbox.oldest_s is not None and outbox.oldest_s > OLDEST_S:
        text = f"{waiting} not published, the oldest {duration(outbox.oldest_s)} old"
        yield fail("outbox", text, "start a relay (celeriac relay), or read the reason in its log")
    else:
        yield ok("outbox", f"{waiting} waiting at {outbox.database}")
    if outbox.timer_overdue_s is not None and outbox.timer_overdue_s > OLDEST_S:
        text = f"a timer of a process expired {duration(outbox.timer_overdue_s)} ago"
        yield fail("outbox", text, "start a relay (celeriac relay), or read the reason in its log")
    if outbox.failed:
        text = f"{count(outbox.failed, 'event')} of the outbox cannot be published"
        yield warn("outbox", text, "see celeriac outbox list, then retry or discard them")
