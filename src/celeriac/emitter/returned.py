"""Emitting what a handler returned, with ids that a repeated run derives again."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec.structs import replace

from celeriac.emitter.async_emitter import AsyncEmitter
from celeriac.emitter.emitter import Emitter
from celeriac.errors import BusUnavailable, LogFull
from celeriac.event import (
    Event,
    Extensions,
    HandlingContext,
    current_handling,
    derived_event_id,
    event_key,
    unpublished_event_id,
)
from celeriac.handler import Emit, Reply
from celeriac.handler.returned import Returned, returned_emits, yielded
from celeriac.reply import LATE, ReplyStore, mailbox_of
from celeriac.settings import Settings
from celeriac.store.redis.connection import persist

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """An event to emit. A reply has the type and the `mailbox` of its request."""

    event: Event[Any]
    emit: Emit
    mailbox: str | None = None
    request_type: str = ""

    @property
    def is_plain(self) -> bool:
        return self.mailbox is None and not self.emit.is_delayed


class ReturnedEvents:
    """Emits the events that handlers of one bus return.

    The functions return the emitter for a session, or for a Django database, and the store of
    replies.
    """

    def __init__(
        self,
        settings: Settings,
        emitter: Callable[[Any, str | None], Emitter],
        async_emitter: Callable[[Any], AsyncEmitter],
        replies: Callable[[], ReplyStore],
    ) -> None:
        self.settings = settings
        self._emitter = emitter
        self._async_emitter = async_emitter
        self._replies = replies

    def emit(self, answer: Any, session: Any = None, using: str | None = None) -> None:
        """Emit the events in what the current handler returned. Blocks, and raises, as `emit`.

        With `session`, or in the open transaction of the database `using`, it writes to the outbox.
        Then `send_replies` passes on the replies.
        """
        returned = returned_emits(answer, _handler())
        if not returned:
            return
        emitter = self._emitter(session, using)
        outgoing = list(self._outgoing(emitter, returned))
        if plain := [each.event for each in outgoing if each.is_plain]:
            emitter.emit_many(plain)
        for each in outgoing:
            if each.mailbox is not None:
                self._note(each.request_type, each.mailbox, emitter.emit_body(each.event))
            elif each.emit.is_delayed:
                emitter.emit(each.event, delay=each.emit.delay, at=each.emit.at)

    async def aemit(self, answer: Any, session: Any) -> None:
        """Do what `emit` does, in the transaction of an async session. Takes async generators."""
        if inspect.isasyncgen(answer):
            answer = await yielded(answer, _handler())
        returned = returned_emits(answer, _handler())
        if not returned:
            return
        emitter = self._async_emitter(session)
        outgoing = list(self._outgoing(emitter.emitter, returned))
        if plain := [each.event for each in outgoing if each.is_plain]:
            await emitter.emit_many(plain)
        for each in outgoing:
            if each.mailbox is not None:
                body = await emitter.emit_body(each.event)
                self._note(each.request_type, each.mailbox, body)
            elif each.emit.is_delayed:
                await emitter.emit(each.event, delay=each.emit.delay, at=each.emit.at)

    def send_replies(self, *, is_committed: bool) -> None:
        """Pass the replies of the current handler to the processes that wait for them.

        If it `is_committed` what the handler did, a failure is logged: the handler does not run
        again. Otherwise raises BusUnavailable or LogFull.
        """
        context = current_handling()
        if context is None or not context.replies:
            return
        replies, context.replies = context.replies, None
        for request_type, mailbox, body in replies:
            try:
                is_awaited = self._persist(
                    partial(self._replies().push, mailbox, body, request_type)
                )
            except (BusUnavailable, LogFull) as error:
                if not is_committed:
                    raise
                logger.error("%s: the reply to %s is not sent: %s", context.handler, mailbox, error)
                continue
            if not is_awaited:
                logger.warning(
                    "%s: the reply to request %s is late, and only in the event log",
                    context.handler,
                    mailbox,
                )

    def _outgoing(self, emitter: Emitter, returned: Sequence[Returned]) -> Iterator[_Outgoing]:
        context, before = current_handling(), Counter[tuple[str, str]]()
        for value in returned:
            cause, mailbox = None if context is None else context.event, None
            if isinstance(value, Reply):
                cause = _request_of(value, context)
                mailbox, emit = mailbox_of(cause), value.as_emit(cause)
            else:
                emit = value
            attributes = emit.attributes()
            if emit.id is None:
                is_of_batch = isinstance(value, Emit) and context is not None and context.size > 1
                key = "" if cause is None else event_key(cause.id, cause.source)
                number = before[key, emit.type]
                before[key, emit.type] += 1
                # The events of a batch run one by one after a failure: no id can be derived again.
                attributes["id"] = (
                    unpublished_event_id()
                    if context is None or is_of_batch
                    else derived_event_id(key, context.handler, emit.type, str(number))
                )
            event = emitter.build(emit.type, emit.data, **attributes)
            if mailbox is not None and not self._is_open(mailbox):
                event = replace(event, extensions=Extensions({**event.extensions, LATE: True}))
            yield _Outgoing(event, emit, mailbox, "" if cause is None else cause.type)

    def _is_open(self, mailbox: str) -> bool:
        return self._persist(lambda: self._replies().is_open(mailbox))

    def _persist(self, call: Callable[[], bool]) -> bool:
        return persist(call, url=self.settings.redis_url, seconds=self.settings.emit_timeout)

    def _note(self, request_type: str, mailbox: str, body: bytes) -> None:
        context = current_handling()
        if context is not None:
            context.replies = [*(context.replies or ()), (request_type, mailbox, body)]


def _handler() -> str:
    context = current_handling()
    return "" if context is None else context.handler


def _request_of(reply: Reply, context: HandlingContext | None) -> Event[Any]:
    if reply.to is not None:
        return reply.to
    if context is None or context.size > 1:
        raise TypeError(
            f"{_handler()} returned a Reply to a batch. Name the request: Reply(data, to=event)"
        )
    return context.event
