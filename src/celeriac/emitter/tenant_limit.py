"""The tenants whose events a service may emit: `CELERIAC_TENANTS`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celeriac.errors import InvalidEvent
from celeriac.event import current_tenant
from celeriac.visible import listed


class TenantLimit:
    """The limit of a service that has one. `default` is its tenant if there is exactly one."""

    def __init__(self, tenants: Sequence[str]) -> None:
        self._tenants = dict.fromkeys(tenants)
        self.default = tenants[0] if len(self._tenants) == 1 else None

    def complete(self, attributes: dict[str, Any]) -> None:
        """Add the default tenant to the attributes of a new event that has and inherits none."""
        if (
            self.default is not None
            and attributes.get("tenant") is None
            and current_tenant() is None
        ):
            attributes["tenant"] = self.default

    def check(self, tenant: str | None) -> None:
        """Raise InvalidEvent unless the service may emit events of the tenant."""
        if tenant in self._tenants:
            return
        allowed = listed(self._tenants)
        if tenant is None:
            raise InvalidEvent(
                f"`tenant` is missing: CELERIAC_TENANTS limits this service to {allowed}. Emit the "
                "event with one of them"
            )
        raise InvalidEvent(
            f"`tenant` {tenant!r} is not in CELERIAC_TENANTS, which limits this service to "
            f"{allowed}. Emit the event with one of them, or add the tenant"
        )
