"""Log refused requests, each kind of them rarely: anyone can send them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from celeriac.gateway.refusal import Refusal
from celeriac.visible import visible_line

logger = logging.getLogger(__name__)

INTERVAL = 60.0  # seconds


class RefusalLog:
    """Logs the first refusal of a route and a status, then one in INTERVAL with their number."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Route and status → when the last one was logged, and the number since.
        self._last: dict[tuple[str, int], tuple[float, int]] = {}

    def note(self, route: str, refusal: Refusal, sender: str = "") -> None:
        """Log a refusal, or count it. `route` is one of few; `sender` names the token, if any."""
        now, key = self._clock(), (route, refusal.status)
        last, count = self._last.get(key, (-INTERVAL, 0))
        if now - last < INTERVAL:
            self._last[key] = last, count + 1
            return
        self._last[key] = now, 0
        logger.warning(
            "celeriac: %s refused a request%s: %d %s%s",
            route,
            f" of {visible_line(sender)}" if sender else "",
            refusal.status,
            visible_line(refusal.cause or refusal.detail),
            f" ({count} more since the last line)" if count else "",
        )
