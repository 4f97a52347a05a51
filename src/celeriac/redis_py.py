"""Differences between the releases of redis-py that Celery 5.5 and later allow.

Celery 5.5 allows redis-py 5.2.1 at most. All of this can go with Celery 5.5.
"""

from __future__ import annotations

import inspect
from typing import Any

import redis
from redis._parsers.base import BaseParser
from redis.exceptions import AskError, ClusterDownError, MasterDownError, MovedError, TryAgainError

# redis-py before 5.3 requires the name of a command; 5.3 and later warn of one.
_COMMAND = inspect.signature(redis.ConnectionPool.get_connection).parameters["command_name"]
_ARGUMENTS = ("PING",) if _COMMAND.default is inspect.Parameter.empty else ()

# Older releases of redis-py name these refusals for its own cluster client only: elsewhere they are
# a ResponseError, whose text alone says that the command belongs to another node.
for _code, _kind in (
    ("ASK", AskError),
    ("CLUSTERDOWN", ClusterDownError),
    ("MASTERDOWN", MasterDownError),
    ("MOVED", MovedError),
    ("TRYAGAIN", TryAgainError),
):
    BaseParser.EXCEPTION_CLASSES.setdefault(_code, _kind)


def connection_of(pool: Any) -> Any:
    """Return a connection of the pool, which the caller releases. Blocks to connect.

    Raises redis.ConnectionError.
    """
    return pool.get_connection(*_ARGUMENTS)
