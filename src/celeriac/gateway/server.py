"""The ASGI server of `celeriac gateway`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    """Answers requests that only wait when it begins to stop: otherwise it waits for them."""

    def __init__(self, config: uvicorn.Config, stop_waiting: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop_waiting = stop_waiting

    async def shutdown(self, sockets: Any = None) -> None:
        self._stop_waiting()
        await super().shutdown(sockets)


def serve(config: uvicorn.Config, stop_waiting: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. Exits with status 3 if the server could not start."""
    server = _Server(config, stop_waiting)
    server.run()
    if not server.started:
        sys.exit(3)
