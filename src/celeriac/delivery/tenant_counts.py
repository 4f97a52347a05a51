"""Counts of events and deliveries by tenant, for the tenants that settings name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Protocol, get_args

from celeriac.tenant import tenant_fault

Counted = Literal["emitted", "processed", "dead"]


class TenantCount(NamedTuple):
    """What is counted. `handler` is empty for emitted events."""

    what: Counted
    tenant: str
    handler: str = ""

    @property
    def field(self) -> str:
        """The name of its field. Neither a tenant nor a handler has a space."""
        return f"{self.what} {self.tenant} {self.handler}".rstrip()


def parse_count(field: str) -> TenantCount:
    """Return what a field counts. Raises ValueError."""
    what, tenant, *handler = field.split(" ")
    needs_handler = what != "emitted"
    if what not in get_args(Counted) or tenant_fault(tenant) or len(handler) != needs_handler:
        raise ValueError("is not a count of a tenant")
    return TenantCount(what, tenant, *handler)  # type: ignore[arg-type]


class TenantCounts(Protocol):
    """The counts of one bus. They are statistics: a killed process loses its last second."""

    def note(self, counted: Iterable[TenantCount]) -> None:
        """Count one of each. Never blocks, never raises."""
        ...

    def read(self) -> Mapping[TenantCount, int]:
        """Return all counts. Blocks for a round trip."""
        ...
