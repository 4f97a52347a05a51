"""What a dispatcher says of a turn that failed: of an outage seldom, of a fault always."""

from __future__ import annotations

import logging

import redis

from celeriac.connection import address
from celeriac.errors import BusUnavailable

log = logging.getLogger(__name__)


def tell_outage(error: Exception, failures: int, redis_url: str) -> None:
    """`failures` counts the turns that failed one after the other. What is not an outage of Redis
    or of the broker is logged with its traceback."""
    now_and_then = failures in (1, 10) or failures % 60 == 0
    if isinstance(error, redis.RedisError):
        if now_and_then:
            where = address(redis_url)
            log.warning("celeriac: Redis at %s is away (%s); waiting for it", where, error)
    elif isinstance(error, BusUnavailable):
        if now_and_then:
            log.warning("celeriac: %s; waiting for it", error)
    else:
        log.exception("celeriac: a turn of the dispatcher failed; going on")
