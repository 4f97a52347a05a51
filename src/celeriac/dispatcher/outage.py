"""What a dispatcher says of a turn that failed: of an outage seldom, of a fault always."""

from __future__ import annotations

import logging

import redis
from redis.exceptions import ResponseError

from celeriac.errors import BusUnavailable
from celeriac.store.redis.connection import address
from celeriac.store.redis.refusal import passing_refusal

logger = logging.getLogger(__name__)


def tell_outage(error: Exception, failures: int, redis_url: str) -> None:
    """`failures` counts the turns that failed one after the other. What is not an outage of Redis
    or of the broker is logged with its traceback."""
    now_and_then = failures in (1, 10) or failures % 60 == 0
    if isinstance(error, redis.RedisError):
        if now_and_then:
            where, passing = address(redis_url), passing_refusal(error)
            if passing:
                said = "celeriac: Redis at %s %s (%s); waiting until it takes commands again"
                logger.warning(said, where, passing, error)
            elif isinstance(error, ResponseError):
                logger.warning("celeriac: Redis at %s refuses (%s); trying again", where, error)
            else:
                logger.warning("celeriac: Redis at %s is away (%s); waiting for it", where, error)
    elif isinstance(error, BusUnavailable):
        if now_and_then:
            logger.warning("celeriac: %s; waiting for it", error)
    else:
        logger.exception("celeriac: a turn of the dispatcher failed; going on")
