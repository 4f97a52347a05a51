"""The default bus, behind the module-level `emit`: from the environment, or set."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from celeriac.bus import EventBus
from celeriac.emitter import Emission

_default: EventBus | None = None


def default_bus() -> EventBus:
    """The bus behind the module-level `emit`: made from the environment, or set."""
    global _default
    if _default is None:
        _default = EventBus()
    return _default


def set_default_bus(bus: EventBus | None) -> None:
    """Makes `bus` the one behind the module-level functions; None: the environment's again."""
    global _default
    _default = bus


def emit(type: str, data: Any = None, **options: Any) -> str:
    """`EventBus.emit` on the default bus."""
    return default_bus().emit(type, data, **options)


def emit_many(events: Iterable[Emission | Mapping[str, Any]], **options: Any) -> int:
    """`EventBus.emit_many` on the default bus."""
    return default_bus().emit_many(events, **options)


async def aemit(type: str, data: Any = None, **options: Any) -> str:
    """`EventBus.aemit` on the default bus."""
    return await default_bus().aemit(type, data, **options)


async def aemit_many(
    events: Iterable[Emission | Mapping[str, Any]] | AsyncIterable[Emission | Mapping[str, Any]],
    **options: Any,
) -> int:
    """`EventBus.aemit_many` on the default bus."""
    return await default_bus().aemit_many(events, **options)
