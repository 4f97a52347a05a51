"""The services of the shop. A worker imports only the modules of its own service."""

from __future__ import annotations

import os
from dataclasses import dataclass

from celeriac import ConfigurationError


@dataclass(frozen=True, slots=True)
class Service:
    """`modules` have its handlers and tasks. `concurrency` is the number of pool processes.

    The workers of a service with a `database` relay its outbox.
    """

    name: str
    modules: tuple[str, ...]
    concurrency: int = 2
    database: bool = False


SERVICES = {
    service.name: service
    for service in (
        Service("orders", ("handlers.orders", "tasks.checkout", "tasks.catalogue"), database=True),
        Service("billing", ("handlers.billing",)),
        Service("shipping", ("handlers.shipping",)),
        Service("notifications", ("handlers.notifications",)),
        Service("analytics", ("handlers.analytics",), concurrency=1),
    )
}

CHOOSE = (
    "CELERIAC_SERVICE is not a service of the shop. Start a worker with "
    "`CELERIAC_SERVICE=billing celery -A config worker`. "
    f"The services are {', '.join(SERVICES)}."
)


def chosen_service() -> Service | None:
    """Return the service named by CELERIAC_SERVICE; None if it is not set."""
    name = os.environ.get("CELERIAC_SERVICE", "")
    if not name:
        return None
    if name not in SERVICES:
        raise ConfigurationError(f"CELERIAC_SERVICE={name!r}: {CHOOSE}")
    return SERVICES[name]
