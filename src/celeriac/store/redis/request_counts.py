"""The statistics of requests in Redis or Valkey. They never make a request fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis

from celeriac.delivery.counters import bucket_of
from celeriac.invalid_record import InvalidRecords
from celeriac.reply import RequestEnd, RequestStats
from celeriac.reply.stats import add_request_count
from celeriac.store.redis.connection import Client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script

logger = logging.getLogger(__name__)

_begin, _end, _late, _read = (
    Script(f"{name}.lua")
    for name in ("begin_request", "end_request", "late_reply", "read_requests")
)
Call = tuple[Any, ...]  # script, keys, arguments


@contextmanager
def statistic() -> Iterator[None]:
    """Log errors of Redis instead of raising them."""
    try:
        yield
    except redis.RedisError as error:
        logger.debug("a request is not in the statistics: %s", error)


class RequestCounts:
    """Counts requests in two keys of one slot, whatever the slot of their mailboxes."""

    def __init__(self, keys: Keys, client: Client, invalid: InvalidRecords) -> None:
        self._client, self._invalid = client, invalid
        self._keys = keys.request_counts, keys.pending_requests

    def begun(self, mailbox: str, type: str, ttl_ms: int) -> Call:
        """Return the call that counts a request as pending, for `ttl_ms` at most."""
        return _begin, self._keys, mailbox, type, ttl_ms

    def ended(self, end: RequestEnd) -> Call:
        """Return the call that counts the end of a pending request."""
        bucket = bucket_of(end.took_us)
        return _end, self._keys, end.mailbox, end.type, end.outcome.value, bucket, end.took_us

    def begin(self, mailbox: str, type: str, ttl_ms: int) -> None:
        self._count(*self.begun(mailbox, type, ttl_ms))

    def end(self, end: RequestEnd) -> None:
        self._count(*self.ended(end))

    def late(self, type: str) -> None:
        self._count(_late, self._keys[:1], type)

    def read(self) -> Mapping[str, RequestStats]:
        """Return the statistics by type. Blocks for a round trip. Raises redis.RedisError."""
        counts, stats = self._keys[0], dict[str, RequestStats]()
        answer = self._invalid.unless_wrong_type(
            counts, lambda: _read.on_keys(self._client, self._keys), []
        )
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        self._invalid.decode_all(
            counts, fields, lambda name, value: add_request_count(stats, name, value)
        )
        return stats

    def _count(self, script: Script, keys: tuple[str, ...], *args: Any) -> None:
        with statistic():
            script.on_keys(self._client, keys, *args)
