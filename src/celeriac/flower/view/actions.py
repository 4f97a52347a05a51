"""Actions: redrive, discard, replay, pause, resume, abort, remind."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from tornado.web import HTTPError

from celeriac.contract import read_data
from celeriac.contract.registered import RegisteredContracts
from celeriac.dead_letter import (
    Batch,
    apply_edit,
    count_batch,
    discard_batch,
    discard_dead_letters,
    edit_dead_letter,
    redrive_batch,
    redrive_dead_letter,
)
from celeriac.dead_letter.edit import MAX_DIFF, unmasked_change
from celeriac.delivery import Group
from celeriac.errors import NotFound
from celeriac.flower import guard
from celeriac.flower.view.action import Action, ActionRequest
from celeriac.flower.view.process_actions import AbortInstance, RemindInstance
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking import Located


class Redrive(Action):
    did = "redrive"

    def run(self, request: ActionRequest) -> dict[str, Any]:
        domain, id = request.dead_letter_id()
        records = self.backend.registry.handlers()
        done = redrive_dead_letter(
            self.backend, records, domain, id, self.note(request.dead_letter, request.reason)
        )
        return {"done": int(done), "gone": int(not done)}


class Discard(Action):
    did = "discard"

    def run(self, request: ActionRequest) -> dict[str, Any]:
        domain, id = request.dead_letter_id()
        done = discard_dead_letters(
            self.backend, [(domain, id)], self.note(request.dead_letter, request.reason)
        )
        return {"done": done, "gone": 1 - done}


class Edit(Action):
    """Edit the event of a dead letter. Only for users named in CELERIAC_FLOWER_EDITORS."""

    did = "edit"

    def prepare(self) -> None:
        super().prepare()
        guard.check_edit(guard.user_of(self))

    def run(self, request: ActionRequest) -> dict[str, Any]:
        domain, id = request.dead_letter_id()
        dead_letter = self.backend.deliveries.dead_letter(domain, id)
        if dead_letter is None:
            return {"done": 0, "gone": 1}
        settings = self.service.settings
        change = unmasked_change(dead_letter, request.document, settings.sensitive_names)
        contracts = RegisteredContracts.read(self.backend.contracts)
        edit = edit_dead_letter(dead_letter, change, contracts, settings.sensitive_names)
        handler = self.service.handlers.get(dead_letter.handler)
        if handler is not None:
            read_data(edit.event, handler.data_type_of(edit.event.type))
        records = self.backend.registry.handlers()
        note = self.note(request.dead_letter, request.reason, diff=edit.patch[:MAX_DIFF])
        done = apply_edit(self.backend, records, settings, edit, note)
        return {"done": int(done), "gone": int(not done), "id": edit.event.id}


class CountAction(Action):
    """Count the dead letters of a choice, step by step like the actions."""

    def run(self, request: ActionRequest) -> dict[str, Any]:
        until = request.until_ms or self.backend.registry.now_ms()
        request = msgspec.structs.replace(request, until_ms=until)
        return _answer(count_batch(self.backend, request.choice, request.after), until, "")


class BatchAction(Action):
    """One step of an action on all dead letters of a choice."""

    def run(self, request: ActionRequest) -> dict[str, Any]:
        if request.until_ms is None:
            raise HTTPError(
                400, "until_ms is missing. Count the dead letters first and pass its until_ms."
            )
        operation = request.operation or secrets.token_hex(8)
        step = self.step(request, self.note(request.what(), request.reason, operation))
        return _answer(step, request.until_ms, operation)

    def step(self, request: ActionRequest, note: bytes) -> Batch:
        raise NotImplementedError


class RedriveMany(BatchAction):
    did = "redrive"

    def step(self, request: ActionRequest, note: bytes) -> Batch:
        records = self.backend.registry.handlers()
        return redrive_batch(self.backend, records, request.choice, request.after, note)


class DiscardMany(BatchAction):
    did = "discard"

    def step(self, request: ActionRequest, note: bytes) -> Batch:
        return discard_batch(self.backend, request.choice, request.after, note)


def _answer(step: Batch, until_ms: int, operation: str) -> dict[str, Any]:
    return {
        "chosen": step.chosen,
        "done": step.done,
        "refused": step.refused,
        "faults": list(step.faults),
        "groups": [
            {"handler": handler, "type": type, "exception": exception, "count": count}
            for (handler, type, exception), count in step.groups.items()
        ],
        "after": step.after,
        "end": step.end,
        "until_ms": until_ms,
        "operation": operation,
    }


class Replay(Action):
    """Run one handler on one event again, whatever the state of its delivery."""

    did = "replay"

    def run(self, request: ActionRequest) -> dict[str, Any]:
        located, *others = self.matrix.find_all(
            request.event, source=request.source, near=request.at
        )
        if others:
            raise HTTPError(400, _ambiguous(request.event, [located, *others]).replace("%", "%%"))
        if located.entry is None:
            raise NotFound(f"event is delayed: {request.event}. Replay it after it is emitted.")
        record = _record(self.backend, request.handler)
        group = Group(located.domain, record.id, record.flow_control)
        note = self.note(f"{record.id} {located.event.type} {request.event}", request.reason)
        done = self.backend.deliveries.replay(group, [(located.entry, located.key)], note)
        return {"done": done, "gone": 1 - done}


def _ambiguous(event_id: str, events: Sequence[Located]) -> str:
    named = ", ".join(f"{event.event.source} in {event.domain}/{event.entry}" for event in events)
    return f"several events have the id {event_id}: {named}. Select one by source or at."


def _record(backend: Backend, handler: str | None) -> HandlerRecord:
    record = backend.registry.handlers().get(handler or "")
    if record is None:
        raise NotFound(f"handler not found: {handler}. It was removed, or the name is wrong.")
    return record


class Switch(Action):
    """Pause or resume one handler in all workers."""

    def run(self, request: ActionRequest) -> dict[str, Any]:
        record = _record(self.backend, request.handler)
        note = self.note(record.id, request.reason)
        # Recorded first: an action without a record must not happen.
        for domain in sorted(record.since) or sorted(self.backend.event_log.domains())[:1]:
            self.backend.deliveries.record(domain, note)
            break
        return {"done": int(self.switch(record.id, request.reason))}

    def switch(self, handler: str, reason: str) -> bool:
        raise NotImplementedError


class Pause(Switch):
    did = "pause"

    def switch(self, handler: str, reason: str) -> bool:
        text = f"by {guard.user_of(self)}" + (f": {reason}" if reason else "")
        self.backend.circuits.pause(handler, reason=text)
        return True


class Resume(Switch):
    did = "resume"

    def switch(self, handler: str, reason: str) -> bool:
        return self.backend.circuits.resume(handler)


ACTIONS: dict[str, Callable[..., Any]] = {
    "redrive": Redrive,
    "discard": Discard,
    "edit": Edit,
    "count-many": CountAction,
    "redrive-many": RedriveMany,
    "discard-many": DiscardMany,
    "replay": Replay,
    "pause": Pause,
    "resume": Resume,
    "abort-instance": AbortInstance,
    "remind-instance": RemindInstance,
}
