"""All faults, in the order of the table."""

from __future__ import annotations

from devtools.faults.fault import REDIS, Fault
from devtools.faults.scenarios import (
    deploys,
    flows,
    harmful,
    inputs,
    links,
    poison,
    processes,
    rabbit,
    refusals,
    sentinel,
    servers,
    storm,
)

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS,
    *storm.FAULTS,
    *flows.FAULTS,
    *servers.FAULTS,
    *refusals.FAULTS,
    *sentinel.FAULTS,
    *rabbit.FAULTS,
    *links.FAULTS,
    *harmful.FAULTS,
    *poison.FAULTS,
    *inputs.FAULTS,
    *deploys.FAULTS,
)


def chosen(*, full: bool, only: str = "", broker: str = REDIS) -> list[Fault]:
    """The quick ones, or all; with `only`, those whose names contain it, in any case."""
    there = [fault for fault in FAULTS if broker in fault.on]
    if only:
        return [fault for fault in there if only.lower() in fault.name.lower()]
    return [fault for fault in there if full or fault.quick]
