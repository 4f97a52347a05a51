"""Log failed runs of a dispatcher: an outage rarely, a programming error always."""

from __future__ import annotations

import logging
import random

import redis
from redis.exceptions import ResponseError

from celeriac.errors import BusUnavailable
from celeriac.store.redis.connection import address
from celeriac.store.redis.refusal import temporary_refusal

logger = logging.getLogger(__name__)


MAX_PAUSE = 2.0  # seconds


def outage_pause(failures: int) -> float:
    """Return the seconds to wait after so many consecutive failures, with jitter."""
    return min(MAX_PAUSE, 0.1 * 2.0 ** min(failures, 6)) * random.uniform(0.5, 1)


def is_logged(failures: int) -> bool:
    """Return whether to log the last of so many consecutive failures: a few of them."""
    return failures in (1, 10) or failures % 60 == 0


def log_outage(error: Exception, failures: int, redis_url: str) -> None:
    """Log a failure. `failures` counts consecutive failures. Errors that are not an outage of Redis
    or of the broker are logged with their traceback."""
    if isinstance(error, redis.RedisError):
        if is_logged(failures):
            where, passing = address(redis_url), temporary_refusal(error)
            if passing:
                message = "celeriac: Redis at %s %s (%s); waiting until it accepts commands again"
                logger.warning(message, where, passing, error)
            elif isinstance(error, ResponseError):
                logger.warning("celeriac: Redis at %s refuses (%s); retrying", where, error)
            else:
                logger.warning("celeriac: Redis at %s is unreachable (%s); retrying", where, error)
    elif isinstance(error, BusUnavailable):
        if is_logged(failures):
            logger.warning("celeriac: %s; retrying", error)
    else:
        logger.exception("celeriac: a run of the dispatcher failed; continuing")
