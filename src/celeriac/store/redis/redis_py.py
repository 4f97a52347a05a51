"""Differences between the releases of redis-py that Celery 5.5 and later allow.

Celery 5.5 allows redis-py 5.2.1 at most. These workarounds can be removed with support for 5.5.

Also wraps parts without a public name: how redis-py creates an error from a refusal, and the stream
that its asyncio connections write to (checked with redis-py 5.2 to 8.1).
"""

from __future__ import annotations

import inspect
from typing import Any

import redis
from redis._parsers.base import BaseParser
from redis.exceptions import AskError, ClusterDownError, MasterDownError, MovedError, TryAgainError

# redis-py before 5.3 requires the name of a command; 5.3 and later warn about it.
_COMMAND = inspect.signature(redis.ConnectionPool.get_connection).parameters["command_name"]
_ARGUMENTS = ("PING",) if _COMMAND.default is inspect.Parameter.empty else ()

# Older releases of redis-py map these refusals for their own cluster client only. Elsewhere they
# are a ResponseError whose text alone shows that the command belongs to another node.
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


def parse_error(refusal: str) -> Any:
    """Return the exception for an error of the server, without the leading `-`."""
    parse: Any = BaseParser.parse_error  # it has no types
    return parse(refusal)


def release_writer(connection: Any) -> Any:
    """Take the connected StreamWriter from an asyncio connection, which is unusable afterwards."""
    writer = connection._writer
    connection._reader = connection._writer = None
    return writer
