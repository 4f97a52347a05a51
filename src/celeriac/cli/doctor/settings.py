"""Check the settings of the bus against this process, and the number of domains."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, ok, warn
from celeriac.dispatcher.maintenance import MANY_DOMAINS


def check_settings(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check the settings that the whole bus shares."""
    record = snapshot.record
    for fault in record.faults:
        what, _, remedy = fault.partition(". ")
        yield warn("settings", what, remedy)
    differences = record.differences(snapshot.settings)
    for difference in differences:
        what, _, remedy = str(difference).partition(". ")
        yield warn("settings", what, remedy)
    if not (record.faults or differences):
        text = "this process uses the settings of the bus"
        if not record.values:
            text = "the bus has no settings yet; the first worker writes its own"
        yield ok("settings", text)


def check_domains(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check the number of domains."""
    number = len(snapshot.dead)
    maximum = snapshot.record.applied_to(snapshot.settings).max_domains
    if maximum and number >= 0.75 * maximum:
        text = (
            f"{number:,} domains, of CELERIAC_MAX_DOMAINS={maximum:,}; at the limit emit "
            "refuses new domains"
        )
    elif number >= MANY_DOMAINS:
        text = f"{number:,} domains: each adds load to every worker that subscribes to #"
    else:
        return
    remedy = "move names and numbers from the first segment of event types to subject"
    yield warn("domains", text, remedy)
