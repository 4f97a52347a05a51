"""The code of a service, loaded for its contracts and handlers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from celeriac.cli.dispatcher import find_bus
from celeriac.contract.lock import Lock, lock_of


@dataclass(frozen=True, slots=True)
class Code:
    """What the code of a service says, and the annotations of its handlers."""

    lock: Lock
    annotations: Mapping[str, Any]


def load_code(module: str) -> Code:
    """Import the module of an EventBus, and what its Celery app imports.

    Raises BadParameter where there is no such module, or no service.
    """
    bus = find_bus(module)
    if not bus.settings.service:
        raise click.BadParameter(
            f"{bus!r} has no service; set CELERIAC_SERVICE or give EventBus(service=...)",
            param_hint="-A",
        )
    bus.app.loader.import_default_modules()
    bus.app.finalize()
    handlers = bus.service.handlers
    return Code(
        lock_of(bus.settings.service, handlers.values()),
        {name: handler.data_type for name, handler in handlers.items()},
    )
