"""Create a span for each delivery task that a dispatcher sends."""

from __future__ import annotations

from collections.abc import Callable

from celeriac.dispatcher.chunk import Chunk
from celeriac.observability.tracing import tracing_of
from celeriac.settings import Settings


def traced(send: Callable[[Chunk], None], settings: Settings) -> Callable[[Chunk], None]:
    """Return `send` with a span around it; `send` itself if tracing is off."""
    tracing = tracing_of(settings)
    if tracing is None:
        return send

    def send_traced(chunk: Chunk) -> None:
        with tracing.dispatch(chunk.handler.id, [item.event for item in chunk.items]):
            send(chunk)

    return send_traced
