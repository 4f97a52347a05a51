"""Emit received events, without waiting for room in the event log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from celeriac.emitter import AsyncEmitter, received_event
from celeriac.errors import CeleriacError, InvalidEvent
from celeriac.event import Event, RawEvent
from celeriac.event_log import ServerEventLog
from celeriac.gateway.refusal import Refusal, refusal_of

if TYPE_CHECKING:
    from celeriac.bus import EventBus

# Returns the event to emit. Raises Refusal.
Admit = Callable[[RawEvent], RawEvent]


class Receiver:
    """Emits events of other systems through the middleware of a bus. Does not block."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._given: ServerEventLog | None = None
        self._refusing: ServerEventLog | None = None
        self._emitter = AsyncEmitter(bus.emitter, self.event_log)

    async def receive(self, events: Sequence[RawEvent], admit: Admit) -> list[str]:
        """Emit the events in order, as `admit` returns them; return their ids.

        An event that was received before is not appended again. Raises Refusal. Unless its
        `accepted` is positive, no event of a batch was accepted; otherwise the batch can be sent
        again as it is.
        """
        numbers = range(1, len(events) + 1) if len(events) > 1 else (0,)
        prepared = [
            self._prepared(event, admit, number)
            for number, event in zip(numbers, events, strict=False)
        ]
        try:
            if len(prepared) == 1:
                await self._emitter.emit(prepared[0])
            else:
                await self._emitter.emit_many(prepared)
        except CeleriacError as error:
            raise refusal_of(error) from error
        return [event.id for event in events]

    def _prepared(self, event: RawEvent, admit: Admit, number: int) -> Event[Any]:
        try:
            return received_event(self._bus.emitter, admit(event))
        except InvalidEvent as error:
            raise refusal_of(error, event=number) from error
        except Refusal as refusal:
            refusal.event = number
            raise

    async def ping(self) -> None:
        """Return after Redis answered. Raises redis.RedisError if it does not."""
        await self.event_log().ping()

    def event_log(self) -> ServerEventLog:
        """Return the event log of the bus, which raises LogFull at once.

        The same object while the bus has the same one: the emitter keeps the domains that it has
        registered in it.
        """
        given = self._bus.service.emitting.async_event_log
        if self._refusing is None or given is not self._given:
            self._given, self._refusing = given, given.refusing()
        return self._refusing
