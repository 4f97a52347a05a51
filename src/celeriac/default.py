"""The default bus, which the module-level `emit` uses."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from celeriac.bus import EventBus
from celeriac.emitter import Emission

_default: EventBus | None = None


def default_bus() -> EventBus:
    """Return the bus that the module-level `emit` uses.

    It is created from the environment at the first call, unless `set_default_bus` set it.
    """
    global _default
    if _default is None:
        _default = EventBus()
    return _default


def set_default_bus(bus: EventBus | None) -> None:
    """Set the bus of the module-level functions; None restores the bus of the environment."""
    global _default
    _default = bus


def emit(type: str, data: Any = None, **options: Any) -> str:
    """Call `EventBus.emit` on the default bus."""
    return default_bus().emit(type, data, **options)


def emit_many(events: Iterable[Emission | Mapping[str, Any]], **options: Any) -> int:
    """Call `EventBus.emit_many` on the default bus."""
    return default_bus().emit_many(events, **options)


async def aemit(type: str, data: Any = None, **options: Any) -> str:
    """Call `EventBus.aemit` on the default bus."""
    return await default_bus().aemit(type, data, **options)


async def aemit_many(
    events: Iterable[Emission | Mapping[str, Any]] | AsyncIterable[Emission | Mapping[str, Any]],
    **options: Any,
) -> int:
    """Call `EventBus.aemit_many` on the default bus."""
    return await default_bus().aemit_many(events, **options)
