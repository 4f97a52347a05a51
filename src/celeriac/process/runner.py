"""Run the events of one process: lock the instance, advance it, store and emit the changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from celeriac.emitter import Emitter
from celeriac.event import Event
from celeriac.process.advance import advance, instance_key
from celeriac.process.definition import ProcessDefinition
from celeriac.process.instance import OutgoingEvent
from celeriac.process.memory import MemoryProcesses
from celeriac.process.store import ProcessStore
from celeriac.service import Service


class Runner:
    """Runs events in a transaction of a store. Keeps no state between events; thread-safe."""

    def __init__(self, definition: ProcessDefinition, handler: str, emitter: Emitter) -> None:
        self.definition, self.handler = definition, handler
        self._emitter = emitter

    def run(self, event: Event[Any], store: ProcessStore) -> None:
        """Advance the instance of the event and emit. Blocks; repeats nothing after a rollback.

        Raises Skip and Retry (see `advance`), and what the method raises. Then the transaction must
        be rolled back.
        """
        definition, now_ms = self.definition, _now_ms()
        key = instance_key(event, definition.key)
        insert = definition.may_start(definition.reaction_to(event.type))
        instance = store.lock(self.handler, key, insert=insert, now_ms=now_ms)
        changes = advance(definition, self.handler, key, instance, event, self._emitter, now_ms)
        store.save(changes)
        self._emit(changes.emits, store)

    def _emit(self, emits: Sequence[OutgoingEvent], store: ProcessStore) -> None:
        # Imported here, because only services with processes or an outbox pay for it.
        from celeriac.outbox.event_log import OutboxEventLog

        rows: list[dict[str, Any]] = []
        # Instances in memory have no outbox.
        emitter = self._emitter
        if MemoryProcesses.current is None:
            emitter = emitter.with_event_log(OutboxEventLog(rows.extend))
        for emit in emits:
            emitter.emit(emit.event, delay=emit.delay, at=emit.at)
        if rows:
            store.write(rows)


def _now_ms() -> int:
    test = Service.override
    return int(time.time() * 1000) if test is None else test.registry.now_ms()
