"""OpenTelemetry: one trace from `emit` to every handler. Off, nothing of it is imported.

Only the API of OpenTelemetry is used: which spans are kept, and where they go, is the business of
the SDK that the application sets up.
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
    """What `settings.tracing` asks for; None where it is off.

    Raises ConfigurationError where it is on and OpenTelemetry is not installed.
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
    for one in middleware:
        if not isinstance(one, Middleware):
            raise ConfigurationError(
                f"EventBus(middleware=...): {one!r} is not an instance of celeriac.Middleware."
            )
    tracing = tracing_of(settings)
    if tracing is None:
        return tuple(middleware)
    from celeriac.observability.tracing.middleware import TracingMiddleware

    return TracingMiddleware(tracing), *middleware


__all__ = ["tracing_of", "with_tracing"]
