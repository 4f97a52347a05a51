"""The generic cell rate algorithm of a handler's rate limit, as in lua/rate.lua. Pure."""

from __future__ import annotations

import math


def rate_wait(arrival_ms: float, now_ms: float, step_ms: float) -> int:
    """Return the ms until the next delivery is allowed.

    `arrival_ms` is the stored theoretical arrival time, 0 if nothing was granted; `step_ms` is the
    time of one delivery.
    """
    depth = max(1000.0, step_ms)
    arrival = min(max(arrival_ms, now_ms), now_ms + depth)
    return max(0, math.ceil(arrival + step_ms - now_ms - depth - 1e-6))
