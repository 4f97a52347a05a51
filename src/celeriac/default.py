"""The default bus, which the module-level `emit` uses."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from celeriac.bus import EventBus
from celeriac.emitter import Emission

_default: EventBus | None = None


def default_bus() -> EventBus:
    """Return the default bus; make it from the environment at the first call."""
    global _default
    if _default is None:
        _default = EventBus()
    return _default


def set_default_bus(bus: EventBus | None) -> None:
    """Make `bus` the default bus. None makes it from the environment again."""
    global _default
    _default = bus


def emit(type: str, data: Any = None, **options: Any) -> str:
    """Publish an event on the default bus: see [EventBus][celeriac.EventBus.emit]."""
    return default_bus().emit(type, data, **options)


def emit_many(events: Iterable[Emission | Mapping[str, Any]], **options: Any) -> int:
    """Publish events on the default bus: see [EventBus][celeriac.EventBus.emit_many]."""
    return default_bus().emit_many(events, **options)


async def aemit(type: str, data: Any = None, **options: Any) -> str:
    """Publish an event on the default bus: see [EventBus][celeriac.EventBus.aemit]."""
    return await default_bus().aemit(type, data, **options)


async def aemit_many(
    events: Iterable[Emission | Mapping[str, Any]] | AsyncIterable[Emission | Mapping[str, Any]],
    **options: Any,
) -> int:
    """Publish events on the default bus: see [EventBus][celeriac.EventBus.aemit_many]."""
    return await default_bus().aemit_many(events, **options)
