"""Wait until one of several streams has a newer entry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from celeriac.redis_url import is_cluster
from celeriac.store.redis.blocking_reads import BlockingReads, newest_in
from celeriac.store.redis.connection import Client, open_client
from celeriac.store.redis.keys import Keys

# A longer wait is split, so that a silently dead connection is detected after this time.
LONGEST_WAIT_MS = 1000
# Replies are delayed on purpose, so they have their own timeout.
ANSWER_WITHIN = LONGEST_WAIT_MS / 1000 + 2.5
# Streams that are read together. More groups mean more connections for each wait; larger groups
# mean more streams for the server to check.
GROUP = 16
MAX_GROUPS = 64  # and connections; with more streams the groups grow
WAKEUP = "wakeup"


class StreamKeys(dict[str, str]):
    """The key of a name in `seen`: a domain, or `wakeup DOMAIN` for its wakeup stream."""

    def __init__(self, keys: Keys) -> None:
        super().__init__()
        self._keys = keys

    def __missing__(self, name: str) -> str:
        kind, _, domain = name.rpartition(" ")
        key = self._keys.wakeup(domain) if kind == WAKEUP else self._keys.events(domain)
        self[name] = key
        return key


class StreamWaiter(Protocol):
    """Waits for streams, in one thread, on connections that pool processes never use."""

    def wait(self, streams: Mapping[str, str], seconds: float) -> Mapping[str, str | None]:
        """Return the streams with entries newer than the given ids, {} if none arrived in time.

        Each comes with its newest entry, or None if there are several. Does not block if `seconds`
        is 0. Raises redis.RedisError.
        """
        ...


def open_stream_waiter(url: str) -> StreamWaiter:
    """Return a waiter for one server or for a cluster. Does not connect yet."""
    client = open_client(url, answer_within=ANSWER_WITHIN)
    if is_cluster(url):
        from celeriac.store.redis.cluster.wakeup import ClusterStreamWaiter

        return ClusterStreamWaiter(client, LONGEST_WAIT_MS)
    return ServerStreamWaiter(client)


class ServerStreamWaiter:
    """One blocking XREAD over all streams of a server; with many streams, one for each GROUP."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reads = BlockingReads(LONGEST_WAIT_MS, ANSWER_WITHIN - LONGEST_WAIT_MS / 1000)

    def wait(self, streams: Mapping[str, str], seconds: float) -> Mapping[str, str | None]:
        if len(streams) > 2 * GROUP:
            return self._reads.wait(in_groups(streams), lambda _: self._client, seconds)
        self._reads.close()
        block_ms = max(1, min(int(seconds * 1000), LONGEST_WAIT_MS))
        block = ("BLOCK", block_ms) if seconds > 0 else ()
        read = ("XREAD", "COUNT", 2, *block, "STREAMS", *streams, *streams.values())
        (answer,) = self._client.execute_many([read])
        if isinstance(answer, Exception):
            raise answer
        return newest_in(answer)


def in_groups(streams: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """Group streams by their order, so that appended streams change only the last group. Pure."""
    items = list(streams.items())
    size = max(GROUP, math.ceil(len(items) / MAX_GROUPS))
    return {at: dict(items[at : at + size]) for at in range(0, len(items), size)}


class EntryWaiter:
    """Waits for newer entries than the ones seen, of the streams of one event log.

    A stream is named as in `EventLog.wait`: a domain, or `wakeup DOMAIN` for its wakeup stream.
    Methods block and raise redis.RedisError.
    """

    def __init__(self, keys: Keys, url: str) -> None:
        self._streams, self._url = StreamKeys(keys), url
        self._waiter: StreamWaiter | None = None

    def wait(self, client: Client, seen: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        """Return `seen` with the newest entry of each stream; `client` reads them if there are
        several new ones."""
        if not seen:
            return seen
        streams = self._streams
        names = {streams[name]: name for name in seen}
        if self._waiter is None:
            self._waiter = open_stream_waiter(self._url)
        woken = self._waiter.wait(dict(zip(names, seen.values(), strict=True)), seconds)
        # The newest entry: the caller fetches everything up to it next, and entries that other
        # workers fetched in the meantime must not wake this one again, one by one.
        single = {names[key]: entry for key, entry in woken.items() if entry is not None}
        more = [names[key] for key, entry in woken.items() if entry is None]
        return {**seen, **single, **self._newest(client, more)}

    def reconnect(self) -> None:
        """Wait on new connections from now on."""
        self._waiter = None

    def _newest(self, client: Client, names: Sequence[str]) -> dict[str, str]:
        commands = [("XREVRANGE", self._streams[name], "+", "-", "COUNT", 1) for name in names]
        answers = client.execute_many(commands) if commands else []
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        newest = zip(names, answers, strict=True)
        return {name: entries[0][0].decode() for name, entries in newest if entries}
