"""Does a relay publish what is committed into the outbox?"""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok, warn
from celeriac.cli.show import age, count
from celeriac.outbox.database import open_database
from celeriac.outbox.status import OutboxStatus, status
from celeriac.settings import Settings

OLDEST_S = 60.0


def look_at_outbox(settings: Settings) -> OutboxStatus | str | None:
    """The outbox of `outbox_url`; why it cannot be looked at; None where none is set."""
    if not settings.outbox_url:
        return None
    try:
        database = open_database(settings.outbox_url)
        found = status(database)
        database.close()
    except Exception as error:
        # Whatever the driver raises: that the database is away is a finding, and no end.
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return found


def check_outbox(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Age of what waits, and what is failed."""
    found = snapshot.outbox
    if found is None:
        return
    if isinstance(found, str):
        yield fail("outbox", f"cannot be read: {found}", "is CELERIAC_OUTBOX_URL right?")
        return
    waiting = count(found.waiting, "event")
    if found.oldest_s is not None and found.oldest_s > OLDEST_S:
        text = f"{waiting} not published, the oldest for {age(found.oldest_s)}"
        yield fail("outbox", text, "is a relay running? Its log says why it waits: celeriac relay")
    else:
        yield ok("outbox", f"{waiting} waiting at {found.database}")
    if found.failed:
        text = f"{count(found.failed, 'event')} of the outbox cannot be published"
        yield warn("outbox", text, "celeriac outbox list; then retry or discard them")
