"""Actions: redrive, discard, replay, pause, resume.

Each is one POST of JSON, and is recorded in the audit log with its user.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec
from tornado.web import HTTPError

from celeriac.contract import read_data
from celeriac.contract.registered import RegisteredContracts
from celeriac.dead_letter import (
    Batch,
    Choice,
    Note,
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
from celeriac.errors import CeleriacError, NotFound
from celeriac.event_log import is_entry
from celeriac.flower import guard
from celeriac.flower.bind import is_authenticated
from celeriac.flower.page import FlowerPage
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking import Located

MAX_REASON = 200  # characters, as in the dialog


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of all actions; each uses those that it needs.

    `dead_letter` is `domain/id`. `handler`, `exception`, `type` and `error` choose dead letters up
    to `until_ms`. `after` and `operation` are from the answer to the previous step.
    """

    dead_letter: str = ""
    handler: str | None = None
    exception: str | None = None
    type: str | None = None
    error: str | None = None
    until_ms: int | None = None
    after: str = ""
    operation: str = ""
    event: str = ""
    source: str | None = None
    at: str = ""
    reason: str = ""
    document: str = ""

    @property
    def choice(self) -> Choice:
        return Choice(
            handler=self.handler,
            pattern=self.type,
            error=self.error,
            exception=self.exception,
            until_ms=self.until_ms,
        )

    def dead_letter_id(self) -> tuple[str, str]:
        """Return the domain and id of the dead letter. Raises NotFound if the name is invalid."""
        domain, _, id = self.dead_letter.rpartition("/")
        if not (domain and is_entry(id)):
            raise NotFound(
                f"dead letter not found: {self.dead_letter!r}. It was redriven or discarded, "
                "or the name is wrong."
            )
        return domain, id

    def what(self) -> str:
        """Return the choice as text, for the audit log."""
        filters = {
            "handler": self.handler,
            "exception": self.exception,
            "type": self.type,
            "error": self.error,
        }
        return " ".join(f"{k}={v}" for k, v in filters.items() if v is not None) or "all"


class Action(FlowerPage):
    """An action. `did` is its name in the audit log."""

    did: ClassVar[str] = ""

    def prepare(self) -> None:
        # Authentication first: a browser asks for a password after 401, but not after 403.
        if is_authenticated(self.application.options) and not self.current_user:
            raise HTTPError(401 if self.application.options.basic_auth else 403)
        guard.check_action(self.request, self.application.options)

    def get(self, *_: Any) -> None:
        raise HTTPError(405)

    async def post(self) -> None:
        try:
            request = msgspec.json.decode(self.request.body or b"{}", type=ActionRequest)
        except msgspec.DecodeError as error:
            raise HTTPError(400, str(error).replace("%", "%%")) from None
        self.write(await self.call(self.run, request))

    def run(self, request: ActionRequest) -> dict[str, Any]:
        """Run the action. Blocks; called in a thread."""
        raise NotImplementedError

    def note(self, what: str, reason: str, operation: str = "", diff: str = "") -> bytes:
        return Note(
            actor=guard.user_of(self),
            did=self.did,
            what=what,
            operation=operation,
            reason=reason[:MAX_REASON],
            diff=diff,
        ).encode()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, HTTPError) and error.status_code == 401:
            super().write_error(401)
            return
        message = "The action failed. See Flower's log."
        if isinstance(error, HTTPError):
            message = error.get_message() or error.reason or message
        elif isinstance(error, LookupError):
            status_code, message = 404, str(error)
        elif isinstance(error, (ValueError, CeleriacError)):
            status_code, message = 400, str(error)
        self.set_status(status_code)
        self.write({"error": message})
        self.finish()


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
            read_data(edit.event, handler.data_type)
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
            raise NotFound(f"event is postponed: {request.event}. Replay it after it is emitted.")
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
}
