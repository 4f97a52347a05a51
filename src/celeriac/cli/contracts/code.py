"""Load the code of a service for its contracts and handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from celeriac.cli.dispatcher import find_bus
from celeriac.contract.lock import Lock, lock_of


@dataclass(frozen=True, slots=True)
class ServiceCode:
    """The contracts in the code of a service, and what its handlers read each event type as."""

    lock: Lock
    annotations: Mapping[str, Callable[[str], Any]]


def load_code(module: str) -> ServiceCode:
    """Import the module of an EventBus, and the modules that its Celery app imports.

    Raises BadParameter if the module or its service does not exist.
    """
    bus = find_bus(module)
    if not bus.settings.service:
        raise click.BadParameter(
            f"{bus!r} has no service. Set CELERIAC_SERVICE or pass EventBus(service=...).",
            param_hint="-A",
        )
    bus.app.loader.import_default_modules()
    bus.app.finalize()
    handlers = bus.service.handlers
    return ServiceCode(
        lock_of(bus.settings.service, handlers.values()),
        {name: handler.data_type_of for name, handler in handlers.items()},
    )
