"""OpenTelemetry: one trace from `emit` to every handler. Without tracing, it is not imported.

Only the API of OpenTelemetry is used: the application's SDK decides which spans are kept and
exported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.extra import needing
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


__all__ = ["tracing_of"]
