"""Temporary refusals of Redis: one table for emitters, workers and brokers.

Pure. Each refusal ends by itself or when an operator fixes its cause, so the caller waits and
repeats the command. Redis checks them before it runs a command or script, so nothing was written.
"""

from __future__ import annotations

import redis
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

# The first word of the refusal, as redis.io documents it, and the state of the server.
TEMPORARY: dict[str, str] = {
    "LOADING": "loads its data",
    "READONLY": "is a replica, which accepts no writes",
    "MASTERDOWN": "is a replica without its master",
    "NOMASTERLINK": "is a replica without its master",
    "MISCONF": "cannot write to its disk",
    "NOREPLICAS": "has fewer replicas than min-replicas-to-write",
    "BUSY": "is busy with a long script",
    "UNBLOCKED": "became a replica",
    "TRYAGAIN": "moves a slot of the cluster to another node",
    "MOVED": "moved a slot of the cluster to another node",
    "ASK": "moves a slot of the cluster to another node",
    "CLUSTERDOWN": "is in a cluster that does not serve all slots",
    "NOGOODSLAVE": "has no replica to promote",
}
# redis-py removes the first word of these.
_TYPED: tuple[tuple[type[Exception], str], ...] = (
    (BusyLoadingError, "LOADING"),
    (ReadOnlyError, "READONLY"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (TryAgainError, "TRYAGAIN"),
    (AskError, "MOVED"),
    (OutOfMemoryError, "OOM"),
)
_OF_PIPELINE = "of pipeline caused error: "
_IN_SCRIPT = " script: "
# redis-py 5.2 to 8.1 has no class for it. While it reads a reply, its message is another one.
_CONNECTING = "Timeout connecting to server"


def refusal_code(error: BaseException) -> str:
    """Return the first word of the server's refusal, or "" if it did not refuse."""
    for kind, code in _TYPED:
        if isinstance(error, kind):
            return code
    if not isinstance(error, ResponseError):
        return ""
    # redis-py puts the command in front of the refusal of a pipeline.
    refused = str(error).rpartition(_OF_PIPELINE)[2]
    code = refused.partition(" ")[0].lstrip("-")
    return code if code.isupper() else ""


def temporary_refusal(error: BaseException) -> str:
    """Return the state of the server that a temporary refusal implies, or "" for other errors."""
    return TEMPORARY.get(refusal_code(error), "")


def is_demotion(error: BaseException) -> bool:
    """Return whether the server became a replica: its address may lead to another master now."""
    return refusal_code(error) in ("READONLY", "UNBLOCKED", "MASTERDOWN")


def nothing_written(error: BaseException) -> bool:
    """Return whether the failed command certainly wrote nothing.

    A connection that broke leaves this open; one that was never established does not.
    """
    if code := refusal_code(error):
        # A script is not rolled back. Temporary refusals stop it before its first write.
        return code in TEMPORARY or code == "OOM" or _IN_SCRIPT not in str(error)
    if isinstance(error, redis.TimeoutError):
        return str(error) == _CONNECTING
    # redis-py raises ConnectionError for both, and through Sentinel also for READONLY.
    cause = error.__cause__ or error.__context__
    refused = isinstance(cause, (ConnectionRefusedError, ReadOnlyError))
    return isinstance(error, redis.ConnectionError) and refused
