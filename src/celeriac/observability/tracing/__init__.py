"""OpenTelemetry: one trace from `emit` to every handler. Off, nothing of it is imported.

Only the API of OpenTelemetry is used: which spans are kept, and where they go, is the business of
the SDK that the application sets up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.extra import needing
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


__all__ = ["tracing_of"]
