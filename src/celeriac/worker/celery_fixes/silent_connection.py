"""Close a connection to Redis that fell silent without waiting for it a second time.

kombu 5.5 to 5.7 (`transport/redis.py`, `Channel.close`) first reads the reply of the blocking
BRPOP, because a message may have arrived. On a connection that has just timed out, this waits for
`socket_timeout` again; Celery 5.7 sets that to 5 s (`bound_open_broker_sockets`). Can go when kombu
closes such a channel at once.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import redis

ARRIVED = 0.1  # seconds to read a message that has already arrived


def close_if_silent(connection: Any, error: BaseException) -> None:
    """Close the channels of a kombu connection if `error` is a timeout of Redis. Never raises."""
    if not isinstance(error, redis.TimeoutError):
        return
    with suppress(Exception):
        for channel in connection.transport.channels:
            if channel._in_poll:
                channel.client.connection._sock.settimeout(ARRIVED)
        connection.collect(socket_timeout=ARRIVED)
