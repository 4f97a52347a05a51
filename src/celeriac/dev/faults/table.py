"""All faults, in the order of the table."""

from __future__ import annotations

from celeriac.dev.faults.catalogue import deploys, harmful, inputs, links, processes, servers
from celeriac.dev.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS,
    *servers.FAULTS,
    *links.FAULTS,
    *harmful.FAULTS,
    *inputs.FAULTS,
    *deploys.FAULTS,
)


def chosen(*, full: bool, only: str = "") -> list[Fault]:
    """The quick ones, or all; with `only`, those whose names contain it, in any case."""
    if only:
        return [fault for fault in FAULTS if only.lower() in fault.name.lower()]
    return [fault for fault in FAULTS if full or fault.quick]
