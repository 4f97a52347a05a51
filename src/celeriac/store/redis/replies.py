"""The mailboxes of requests: a stream of Redis or Valkey for each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from redis.exceptions import NoScriptError

from celeriac.invalid_record import InvalidRecords
from celeriac.reply import RequestEnd, RequestStats, Waited
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, open_async_client, open_client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.loop_client import LoopClients
from celeriac.store.redis.request_counts import RequestCounts, statistic
from celeriac.store.redis.script import Script
from celeriac.store.redis.wakeup import ANSWER_WITHIN, LONGEST_WAIT_MS

_open, _reply, _close = (
    Script(f"{name}.lua") for name in ("open_replies", "reply", "close_replies")
)
MAX_READ = 100


class RedisReplies:
    """See ReplyStore for the guarantees. A waiting request holds one connection."""

    def __init__(
        self, settings: Settings, client: Client, invalid: InvalidRecords | None = None
    ) -> None:
        self.keys = Keys(settings.namespace)
        self.client = client
        self._counts = RequestCounts(
            self.keys, client, InvalidRecords() if invalid is None else invalid
        )
        self._url = settings.redis_url
        self._waiting: Client | None = None
        self._loops = LoopClients(
            partial(open_async_client, settings.redis_url, answer_within=ANSWER_WITHIN)
        )

    def monotonic(self) -> float:
        return time.monotonic()

    def open(self, mailbox: str, type: str, ttl_ms: int) -> None:
        opened = _open.begin(self.client, (self.keys.replies(mailbox),), ttl_ms)
        try:
            self._counts.begin(mailbox, type, ttl_ms)
        finally:
            opened.result()

    def is_open(self, mailbox: str) -> bool:
        return bool(self.client.exists(self.keys.replies(mailbox)))

    def push(self, mailbox: str, body: bytes, type: str) -> bool:
        is_awaited = bool(_reply.on_keys(self.client, (self.keys.replies(mailbox),), body))
        if not is_awaited:
            self._counts.late(type)
        return is_awaited

    def wait(self, mailbox: str, position: str, seconds: float) -> Waited:
        waiting = self._waiting
        if waiting is None:
            # Its answers come late by design.
            waiting = self._waiting = open_client(self._url, answer_within=ANSWER_WITHIN)
        [answer] = waiting.execute_many([self._read(mailbox, position, seconds)])
        if isinstance(answer, Exception):
            raise answer
        return _waited(answer, position)

    def close(self, mailbox: str, position: str) -> list[bytes]:
        key = self.keys.replies(mailbox)
        return _bodies(_close.on_keys(self.client, (key,), position))

    def count_end(self, end: RequestEnd) -> None:
        self._counts.end(end)

    def stats(self) -> Mapping[str, RequestStats]:
        return self._counts.read()

    async def aopen(self, mailbox: str, type: str, ttl_ms: int) -> None:
        await self._run(_open, (self.keys.replies(mailbox),), ttl_ms)
        with statistic():
            await self._run(*self._counts.begun(mailbox, type, ttl_ms))

    async def await_replies(self, mailbox: str, position: str, seconds: float) -> Waited:
        command = self._read(mailbox, position, seconds)
        return _waited(await self._loops.client().execute_command(*command), position)

    async def aclose(self, mailbox: str, position: str) -> list[bytes]:
        return _bodies(await self._run(_close, (self.keys.replies(mailbox),), position))

    async def acount_end(self, end: RequestEnd) -> None:
        with statistic():
            await self._run(*self._counts.ended(end))

    async def disconnect(self) -> None:
        await self._loops.close()

    async def _run(self, script: Script, keys: tuple[str, ...], *args: Any) -> Any:
        client = self._loops.client()
        try:
            return await client.execute_command(*script.of_keys(keys, *args))
        except NoScriptError:
            return await client.execute_command(*script.in_full(keys, *args))

    def _read(self, mailbox: str, position: str, seconds: float) -> tuple[Any, ...]:
        block_ms = max(1, min(int(seconds * 1000), LONGEST_WAIT_MS))
        key = self.keys.replies(mailbox)
        return ("XREAD", "COUNT", MAX_READ, "BLOCK", block_ms, "STREAMS", key, position)


def _waited(answer: Any, position: str) -> Waited:
    entries = list(_entries(answer))
    if not entries:
        return Waited([], position)
    return Waited(_bodies(entries), entries[-1][0].decode())


def _entries(answer: Any) -> Iterator[tuple[bytes, Any]]:
    """Yield the entries in an answer of XREAD, with or without the parser of redis-py, in RESP2
    and RESP3."""
    streams = answer.values() if isinstance(answer, dict) else [pair[1] for pair in answer or ()]
    for entries in streams:
        for entry in entries:
            if entry and isinstance(entry[0], bytes):
                yield entry[0], entry[1]
            else:
                yield from ((id, fields) for id, fields in entry)


def _bodies(entries: Any) -> list[bytes]:
    pairs = [
        fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
        for _, fields in entries
    ]
    return [value for fields in pairs for name, value in fields if name == b"reply"]
