"""What a method of a process asks for, collected until the step is stored. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias

from msgspec import structs

from celeriac.event import Event, RawEvent, decode, event_key, inherit
from celeriac.event.data_copy import copied
from celeriac.event_log.delayed import when_ms
from celeriac.process.decision import Status
from celeriac.process.definition import REMINDED, ProcessDefinition
from celeriac.process.identity import derived_id
from celeriac.process.instance import (
    Instance,
    OutgoingEvent,
    ProcessStep,
    StepChanges,
    Timer,
    TimerRecord,
)

Undo: TypeAlias = str | tuple[str, Any]
# The arguments of an emit that its undo event has too: its subject, and who may read it.
OF_UNDO = ("subject", "partitionkey", "tenant", "sensitive", "encrypt_for")


class EventWriter(Protocol):
    """The part of an Emitter that builds and encodes events."""

    def build(self, type: str, data: Any = None, **attributes: Any) -> Event[Any]: ...

    def encode(self, event: Event[Any], *, valid: bool = False) -> bytes: ...

    def encode_unsigned(self, event: Event[Any], *, valid: bool = False) -> bytes: ...


class Effects:
    """The effects of one event on one instance. `changes` returns them; nothing is stored here."""

    def __init__(
        self,
        definition: ProcessDefinition,
        instance: Instance,
        event: RawEvent,
        writer: EventWriter,
        now_ms: int,
    ) -> None:
        self.now_ms = now_ms
        self._definition, self._writer = definition, writer
        self._event, self._event_key = event, event_key(event.id, event.source)
        self._instance = replace(
            instance, timers=dict(instance.timers), undo=list(instance.undo), updated_ms=now_ms
        )
        self._emits: list[OutgoingEvent] = []
        self._set: dict[str, TimerRecord] = {}
        self._removed: dict[str, None] = {}
        self._ids = 0

    @property
    def status(self) -> Status:
        return self._instance.status

    def emit(
        self,
        type: str,
        data: Any,
        undo: Undo | None,
        delay: float | timedelta | None,
        at: datetime | None,
        attributes: Mapping[str, Any],
    ) -> str:
        if undo is not None and self.status is not Status.OPEN:
            raise ValueError(
                f"emit({type!r}, undo=…): the instance is {self.status}, so nothing can undo it. "
                "Call emit before complete() or abort()"
            )
        when_ms(delay, at)
        event = self._built(type, data, "emit", attributes)
        # It is encoded after the method, which may change its data until then, such as the state.
        event = structs.replace(event, data=copied(event.data))
        if undo is not None:
            undo_type, undo_data = (undo, None) if isinstance(undo, str) else undo
            inherited = {name: attributes.get(name) for name in OF_UNDO}
            undoing = self._built(undo_type, undo_data, "undo", inherited)
            self._instance.undo.append(self._writer.encode_unsigned(undoing).decode())
        self._emits.append(OutgoingEvent(event, delay, at))
        return event.id

    def remind(self, name: str, after: float | timedelta | None, at: datetime | None) -> None:
        self._check_timer("remind", name)
        if self.status is not Status.OPEN:
            raise ValueError(f"remind({name!r}): the instance is {self.status}")
        if (after is None) == (at is None):
            raise ValueError(f"remind({name!r}): give after= or at=, and not both")
        after_ms, at_ms = when_ms(after, at)
        due_ms = self.now_ms + after_ms if after_ms is not None else at_ms
        assert due_ms is not None
        self._ids += 1
        event = self._writer.build(
            REMINDED,
            {"key": self._instance.key, "name": name},
            id=self._derived(f"timer {self._ids} {name}"),
            handlers=(self._instance.handler,),
            **self._subject,
        )
        body = self._writer.encode(event)
        self._set[name] = TimerRecord(name, event.id, due_ms, event.domain, body)
        self._removed.pop(name, None)
        self._instance.timers[name] = Timer(event.id, due_ms)

    def forget(self, name: str) -> None:
        self._check_timer("forget", name)
        self._set.pop(name, None)
        if self._instance.timers.pop(name, None) is not None:
            self._removed[name] = None

    def expire(self, name: str) -> None:
        """Remove a timer that has fired. The relay has deleted its row."""
        self._instance.timers.pop(name, None)

    def complete(self) -> None:
        self._end(Status.COMPLETED, "complete()")

    def abort(self, reason: str) -> None:
        undo = list(self._instance.undo)
        self._end(Status.ABORTED, "abort()")
        self._instance.reason = reason
        self._emits += [OutgoingEvent(self._undoing(body)) for body in reversed(undo)]

    def changes(self, state: Any) -> StepChanges:
        """Return what to store and to emit, with the new state."""
        instance, definition = self._instance, self._definition
        instance.state = definition.state.write(state, instance.key)
        instance.version = definition.state.version
        instance.sensitive = definition.state.sensitive
        instance.seq += 1
        instance.started_ms = instance.started_ms or self.now_ms
        step = ProcessStep(
            seq=instance.seq,
            at_ms=self.now_ms,
            event_id=self._event.id,
            event_type=self._event.type,
            status=instance.status,
            emitted=tuple((emit.event.type, emit.event.id) for emit in self._emits),
            reminders=tuple((row.name, row.at_ms) for row in self._set.values()),
            forgotten=tuple(self._removed),
            reason=instance.reason,
        )
        return StepChanges(
            instance=instance,
            step=step,
            emits=tuple(self._emits),
            set_timers=tuple(self._set.values()),
            removed_timers=tuple(self._removed),
        )

    def _end(self, status: Status, call: str) -> None:
        if self.status is not Status.OPEN:
            raise ValueError(f"{call}: the instance is {self.status} already")
        for name in list(self._instance.timers):
            self.forget(name)
        self._instance.undo.clear()
        self._instance.status = status
        self._instance.expires_ms = self.now_ms + self._definition.keep_ms

    def _built(
        self, type: str, data: Any, purpose: str, attributes: Mapping[str, Any]
    ) -> Event[Any]:
        self._ids += 1
        given = {name: value for name, value in attributes.items() if value is not None}
        defaults = {**self._subject, "id": self._derived(f"{purpose} {self._ids}")}
        return self._writer.build(type, data, **{**defaults, **given})

    def _undoing(self, body: str) -> Event[Any]:
        """Return the undo event, caused by the event that is handled now."""
        event = decode(body.encode())
        cause = inherit(correlationid=event.correlationid)
        return structs.replace(
            event,
            time=datetime.now(UTC),
            causationid=cause.causationid or event.causationid,
            correlationid=cause.correlationid,
            traceparent=cause.traceparent or event.traceparent,
        )

    @property
    def _subject(self) -> dict[str, Any]:
        return {"subject": self._instance.key} if self._definition.key == "subject" else {}

    def _derived(self, purpose: str) -> str:
        return derived_id(self._instance.handler, self._instance.key, self._event_key, purpose)

    def _check_timer(self, call: str, name: str) -> None:
        if name not in self._definition.reminders:
            known = ", ".join(self._definition.reminders) or "none"
            raise ValueError(
                f"{call}({name!r}): no method has @reminded({name!r}). The timers are {known}"
            )
