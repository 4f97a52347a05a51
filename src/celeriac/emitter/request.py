"""Emitting a request, and gathering the replies to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import redis

from celeriac.cleanup import clean_up
from celeriac.contract import read_data
from celeriac.emitter.async_emitter import AsyncEmitter
from celeriac.emitter.emitter import Emitter
from celeriac.errors import CeleriacError, InvalidEvent, NoReply
from celeriac.event import Event, check_domain, decode, event_key, is_encrypted, new_event_id
from celeriac.number_range import MAX_COUNT, in_range
from celeriac.reply import (
    ReplyStore,
    RequestEnd,
    RequestOutcome,
    Waited,
    request_attributes,
)
from celeriac.reply.store import START
from celeriac.security import EventSecurity
from celeriac.store.redis.connection import explain, is_transient, persist

logger = logging.getLogger(__name__)

Until = Literal["replies", "timeout"]
# How much longer than the request waits its mailbox is kept, should its process die.
MARGIN_MS = 10_000
MAX_TIMEOUT = 1_000_000  # seconds
_REFUSED = frozenset({"id", "delay", "at", "session", "using"})


@dataclass(slots=True)
class Gathering:
    """The replies to one request so far, each once, and how long to wait for more."""

    event: Event[Any]
    timeout: float
    count: int | None
    until: Until
    read: Callable[[bytes], Event[Any]]
    replies: list[Event[Any]] = field(default_factory=list)
    position: str = START
    deadline: float = 0.0
    replied_at: float | None = None
    is_over: bool = False
    _seen: set[str] = field(default_factory=set)

    @property
    def mailbox(self) -> str:
        return self.event.id

    def seconds(self, now: float) -> float:
        """Return how long to wait for more; 0 if there are enough, or the time is over."""
        enough = self.count or (1 if self.until == "replies" else None)
        if enough is not None and len(self.replies) >= enough:
            return 0.0
        return max(0.0, self.deadline - now)

    def add(self, bodies: Sequence[bytes], now: float) -> None:
        """Add the replies that can be read and are trusted."""
        for body in bodies:
            try:
                reply = self.read(body)
            except InvalidEvent as error:
                logger.warning("a reply to %s was refused: %s", self.event.id, error)
                continue
            key = event_key(reply.id, reply.source)
            if key not in self._seen:
                self._seen.add(key)
                self.replies.append(reply)
                self.replied_at = now

    def note(self, waited: Waited, now: float) -> None:
        self.add(waited.bodies, now)
        self.position = waited.position

    def end(self) -> RequestEnd:
        """Return how the request ended, for the statistics."""
        wanted = (self.count or 1) if self.until == "replies" else 1
        if not self.is_over:
            outcome = RequestOutcome.FAILED
        elif len(self.replies) >= wanted:
            outcome = RequestOutcome.REPLIED
        else:
            outcome = RequestOutcome.TIMED_OUT
        began = self.deadline - self.timeout
        took_us = 0 if self.replied_at is None else int(max(0, self.replied_at - began) * 1e6)
        return RequestEnd(self.mailbox, self.event.type, outcome, took_us)

    def result(self) -> list[Event[Any]]:
        """Return the replies. Raises NoReply if there are too few."""
        replies = self.replies if self.count is None else self.replies[: self.count]
        missing = (self.count or 1) - len(replies)
        if self.until == "replies" and missing > 0:
            raise NoReply(
                f"{len(replies)} of {self.count or 1} replies to {self.event.type} "
                f"{self.event.id} in {self.timeout:g} s. See `celeriac status {self.event.id}`",
                event_id=self.event.id,
                replies=replies,
            )
        return replies


def make_request(
    emitter: Emitter,
    guard: EventSecurity,
    type: str,
    data: Any,
    *,
    timeout: float,
    count: int | None,
    until: Until,
    attributes: Mapping[str, Any],
) -> Gathering:
    """Return the request, not yet emitted. Raises InvalidEvent."""
    if refused := sorted(_REFUSED & attributes.keys()):
        raise InvalidEvent(f"a request cannot have {', '.join(refused)}. Leave them out")
    if not in_range(timeout, 0, MAX_TIMEOUT) or not timeout:
        raise InvalidEvent(
            f"timeout={timeout!r}: must be a number of seconds above 0, at most {MAX_TIMEOUT}"
        )
    if count is not None and not (in_range(count, 1, MAX_COUNT) and isinstance(count, int)):
        raise InvalidEvent(f"replies={count!r}: must be a whole number of at least 1")
    if until not in ("replies", "timeout"):
        raise InvalidEvent(f"until={until!r}: must be 'replies' or 'timeout'")
    given = {name: value for name, value in attributes.items() if value is not None}
    id = new_event_id()
    given["extensions"] = request_attributes(id, given.get("extensions"))
    event = emitter.build(type, data, id=id, **given)

    def read(body: bytes) -> Event[Any]:
        reply = decode(body)
        domain = reply.type.partition(".")[0]
        check_domain(reply.type, domain)
        if emitter.settings.require_signature:
            guard.verify(body, reply, domain)
        if is_encrypted(reply):
            reply = guard.decrypt(reply)
        return read_data(reply, emitter.schemas.get(reply.type, Any))

    return Gathering(event, timeout, count, until, read)


def request(emitter: Emitter, store: ReplyStore, gathering: Gathering) -> list[Event[Any]]:
    """Emit the request, and return the replies. See EventBus.request."""
    settings, mailbox = emitter.settings, gathering.mailbox
    ttl_ms = int(gathering.timeout * 1000) + MARGIN_MS
    try:
        persist(
            lambda: store.open(mailbox, gathering.event.type, ttl_ms),
            url=settings.redis_url,
            seconds=settings.emit_timeout,
        )
        gathering.deadline = store.monotonic() + gathering.timeout
        emitter.emit(gathering.event, made=True)
        while seconds := gathering.seconds(store.monotonic()):
            try:
                waited = store.wait(mailbox, gathering.position, seconds)
                gathering.note(waited, store.monotonic())
            except redis.RedisError as error:
                if not is_transient(error):
                    raise _explained(error, gathering, settings.redis_url) from error
                time.sleep(min(0.1, seconds))
        gathering.is_over = True
    finally:
        bodies = _closed(lambda: store.close(mailbox, gathering.position), mailbox)
        gathering.add(bodies, store.monotonic())
        store.count_end(gathering.end())
    return gathering.result()


async def arequest(
    emitter: AsyncEmitter, store: ReplyStore, gathering: Gathering
) -> list[Event[Any]]:
    """Do what `request` does without blocking the event loop."""
    mailbox = gathering.mailbox
    ttl_ms = int(gathering.timeout * 1000) + MARGIN_MS
    try:
        await emitter.persist(lambda: store.aopen(mailbox, gathering.event.type, ttl_ms), 0)
        gathering.deadline = store.monotonic() + gathering.timeout
        await emitter.emit(gathering.event, made=True)
        while seconds := gathering.seconds(store.monotonic()):
            try:
                waited = await store.await_replies(mailbox, gathering.position, seconds)
                gathering.note(waited, store.monotonic())
            except redis.RedisError as error:
                if not is_transient(error):
                    raise _explained(error, gathering, emitter.settings.redis_url) from error
                await asyncio.sleep(min(0.1, seconds))
        gathering.is_over = True
    finally:
        await clean_up(_aclose(store, gathering))
    return gathering.result()


async def _aclose(store: ReplyStore, gathering: Gathering) -> None:
    try:
        bodies = await store.aclose(gathering.mailbox, gathering.position)
        gathering.add(bodies, store.monotonic())
    except redis.RedisError as error:
        _log_open(gathering.mailbox, error)
    await store.acount_end(gathering.end())


def _explained(error: redis.RedisError, gathering: Gathering, url: str) -> CeleriacError:
    return explain(error, url=url, tries=1, seconds=gathering.timeout)


def _closed(close: Callable[[], list[bytes]], mailbox: str) -> list[bytes]:
    try:
        return close()
    except redis.RedisError as error:
        _log_open(mailbox, error)
        return []


def _log_open(mailbox: str, error: redis.RedisError) -> None:
    logger.warning("the mailbox of request %s was not closed; it expires (%s)", mailbox, error)
