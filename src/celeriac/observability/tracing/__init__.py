"""OpenTelemetry: one trace from `emit` to every handler. Without tracing, it is not imported.

Only the API of OpenTelemetry is used: the application's SDK decides which spans are kept and
exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from celeriac.errors import ConfigurationError
from celeriac.extra import needing
from celeriac.middleware import Middleware
from celeriac.settings import Settings

if TYPE_CHECKING:
    from celeriac.observability.tracing.tracing import Tracing


def tracing_of(settings: Settings) -> Tracing | None:
    """Return the tracing that `settings.tracing` selects; None if it is off.

    Raises ConfigurationError if it is on and OpenTelemetry is not installed.
    """
    if settings.tracing == "off":
        return None
    with needing("otel", f"CELERIAC_TRACING={settings.tracing}"):
        from celeriac.observability.tracing.tracing import Tracing
    return Tracing(linked=settings.tracing == "linked")


def with_tracing(settings: Settings, middleware: Sequence[Middleware]) -> tuple[Middleware, ...]:
    """Return the middleware, within tracing where the settings ask for it.

    Raises ConfigurationError if an item is not an instance of Middleware.
    """
    for item in middleware:
        if not isinstance(item, Middleware):
            raise ConfigurationError(
                f"EventBus(middleware=...): {item!r} is not an instance of celeriac.Middleware."
            )
    tracing = tracing_of(settings)
    if tracing is None:
        return tuple(middleware)
    from celeriac.observability.tracing.middleware import TracingMiddleware

    return TracingMiddleware(tracing), *middleware


__all__ = ["tracing_of", "with_tracing"]
