"""Emitting what a handler returned, with ids that a repeated run derives again."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from celeriac.emitter.async_emitter import AsyncEmitter
from celeriac.emitter.emitter import Emitter
from celeriac.event import (
    Event,
    HandlingContext,
    current_handling,
    derived_event_id,
    event_key,
    unpublished_event_id,
)
from celeriac.handler import Emit
from celeriac.handler.returned import returned_emits, yielded


class ReturnedEvents:
    """Emits the events that handlers of one bus return.

    The functions return the emitter for a session, or for a Django database.
    """

    def __init__(
        self,
        emitter: Callable[[Any, str | None], Emitter],
        async_emitter: Callable[[Any], AsyncEmitter],
    ) -> None:
        self._emitter = emitter
        self._async_emitter = async_emitter

    def emit(self, answer: Any, session: Any = None, using: str | None = None) -> None:
        """Emit the events in what the current handler returned. Blocks, and raises, as `emit`.

        With `session`, or in the open transaction of the database `using`, it writes to the outbox.
        """
        emits = returned_emits(answer, _handler())
        if not emits:
            return
        emitter = self._emitter(session, using)
        events = _events(emitter, emits)
        now = [event for event, emit in zip(events, emits, strict=True) if not emit.is_delayed]
        if now:
            emitter.emit_many(now)
        for event, emit in zip(events, emits, strict=True):
            if emit.is_delayed:
                emitter.emit(event, delay=emit.delay, at=emit.at)

    async def aemit(self, answer: Any, session: Any) -> None:
        """Do what `emit` does, in the transaction of an async session. Takes async generators."""
        if inspect.isasyncgen(answer):
            answer = await yielded(answer, _handler())
        emits = returned_emits(answer, _handler())
        if not emits:
            return
        emitter = self._async_emitter(session)
        events = _events(emitter.emitter, emits)
        now = [event for event, emit in zip(events, emits, strict=True) if not emit.is_delayed]
        if now:
            await emitter.emit_many(now)
        for event, emit in zip(events, emits, strict=True):
            if emit.is_delayed:
                await emitter.emit(event, delay=emit.delay, at=emit.at)


def _handler() -> str:
    context = current_handling()
    return "" if context is None else context.handler


def _events(emitter: Emitter, emits: Sequence[Emit]) -> list[Event[Any]]:
    context, before = current_handling(), Counter[str]()
    events = []
    for emit in emits:
        attributes = emit.attributes()
        if emit.id is None:
            attributes["id"] = _derived_id(context, emit.type, before[emit.type])
            before[emit.type] += 1
        events.append(emitter.build(emit.type, emit.data, **attributes))
    return events


def _derived_id(context: HandlingContext | None, type: str, number: int) -> str:
    # The events of a batch run one by one after a failure: its ids cannot be derived again.
    if context is None or context.size > 1:
        return unpublished_event_id()
    cause = context.event
    key = event_key(cause.id, cause.source)
    return derived_event_id(key, context.handler, type, str(number))
