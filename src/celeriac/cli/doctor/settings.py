"""Does this process agree with the bus on what is stored, and is the bus of a sound size?"""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, ok, warn
from celeriac.dispatcher.janitor import MANY_DOMAINS


def check_settings(snapshot: BusSnapshot) -> Iterator[Finding]:
    """The settings that the whole bus shares."""
    record = snapshot.record
    for fault in record.faults:
        what, _, remedy = fault.partition(". ")
        yield warn("settings", what, remedy)
    differences = record.differences(snapshot.settings)
    for one in differences:
        what, _, remedy = str(one).partition(". ")
        yield warn("settings", what, remedy)
    if not (record.faults or differences):
        text = "the bus's settings hold here"
        if not record.values:
            text = "the bus has no settings yet: the first worker writes its own"
        yield ok("settings", text)


def check_domains(snapshot: BusSnapshot) -> Iterator[Finding]:
    """How many domains there are."""
    there = len(snapshot.dead)
    most = snapshot.record.over(snapshot.settings).max_domains
    if most and there >= 0.75 * most:
        text = f"{there:,} domains, of max_domains={most:,}: beyond it `emit` refuses new ones"
    elif there >= MANY_DOMAINS:
        text = f"{there:,} domains: each costs every worker that subscribes to #"
    else:
        return
    remedy = "is there a name or number in the first segment of event types? Put it into subject"
    yield warn("domains", text, remedy)
