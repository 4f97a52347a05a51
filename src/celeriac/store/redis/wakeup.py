"""Waiting for something to do: blocks until a stream has a newer entry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from celeriac.redis_url import is_cluster
from celeriac.store.redis.blocking_reads import StandingReads, newest_in
from celeriac.store.redis.connection import Client, open_client

# Whoever waits longer waits again: a link that died without a word is noticed this soon.
LONGEST_WAIT_MS = 1000
# Answers come late by design: a limit of their own.
ANSWER_WITHIN = LONGEST_WAIT_MS / 1000 + 2.5
# Streams that are read together. Of more groups each wait looks at more connections, of larger ones
# the server at more streams.
GROUP = 16
MOST_GROUPS = 64  # and connections; of more streams the groups grow


class Doorbell(Protocol):
    """One thread waits at it, on connections that pool processes never use."""

    def wait(self, streams: Mapping[str, str], seconds: float) -> Mapping[str, str | None]:
        """The streams with entries newer than the given ids, each with its newest entry, or None
        where there are several; {} when none came in time. Looks once where `seconds` is 0.

        Raises redis.RedisError as it came.
        """
        ...


def open_doorbell(url: str) -> Doorbell:
    """For one server, or for a cluster. Does not connect yet."""
    client = open_client(url, answer_within=ANSWER_WITHIN)
    if is_cluster(url):
        from celeriac.store.redis.cluster.wakeup import ClusterDoorbell

        return ClusterDoorbell(client, LONGEST_WAIT_MS)
    return ServerDoorbell(client)


class ServerDoorbell:
    """One blocking XREAD over all streams, which are on one server; of many, one for each GROUP."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reads = StandingReads(LONGEST_WAIT_MS, ANSWER_WITHIN - LONGEST_WAIT_MS / 1000)

    def wait(self, streams: Mapping[str, str], seconds: float) -> Mapping[str, str | None]:
        if len(streams) > 2 * GROUP:
            return self._reads.wait(in_groups(streams), lambda _: self._client, seconds)
        self._reads.close()
        most_ms = max(1, min(int(seconds * 1000), LONGEST_WAIT_MS))
        block = ("BLOCK", most_ms) if seconds > 0 else ()
        read = ("XREAD", "COUNT", 2, *block, "STREAMS", *streams, *streams.values())
        (answer,) = self._client.execute_many([read])
        if isinstance(answer, Exception):
            raise answer
        return newest_in(answer)


def in_groups(streams: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """By their order, so that streams put at the end change no group but the last. Pure."""
    told = list(streams.items())
    size = max(GROUP, math.ceil(len(told) / MOST_GROUPS))
    return {at: dict(told[at : at + size]) for at in range(0, len(told), size)}
