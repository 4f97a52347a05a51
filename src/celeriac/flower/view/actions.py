"""What people may have done: redrive, discard, replay, pause, resume. Each is one POST of JSON, and
is recorded with who asked."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec
from tornado.web import HTTPError

from celeriac.contract import read_data
from celeriac.dead_letter import (
    Batch,
    Choice,
    Note,
    apply_edit,
    count_batch,
    discard_batch,
    discard_letters,
    edit_letter,
    redrive_batch,
    redrive_letter,
)
from celeriac.dead_letter.edit import MAX_DIFF, unmasked_change
from celeriac.delivery import Group
from celeriac.errors import CeleriacError, NotFound
from celeriac.event_log import is_entry
from celeriac.flower import guard
from celeriac.flower.bind import is_authenticated
from celeriac.flower.page import Page
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking import Located

MAX_REASON = 200  # characters, as the dialog allows


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What any act may be asked for; each takes what it needs.

    `letter` is `domain/id` of a dead letter; `handler`, `exception`, `type` and `error` choose
    many, given up until `until_ms`; `after` and `operation` are what the step before answered.
    """

    letter: str = ""
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

    def place(self) -> tuple[str, str]:
        """The domain and the id of the letter. Raises NotFound for what is none."""
        domain, _, id = self.letter.rpartition("/")
        if not (domain and is_entry(id)):
            raise NotFound(f"no dead letter {self.letter!r}")
        return domain, id

    def what(self) -> str:
        """The choice in words, for the audit log."""
        said = {
            "handler": self.handler,
            "exception": self.exception,
            "type": self.type,
            "error": self.error,
        }
        return " ".join(f"{k}={v}" for k, v in said.items() if v is not None) or "all"


class Act(Page):
    """One act. `did` is what the audit log calls it."""

    did: ClassVar[str] = ""

    def prepare(self) -> None:
        # First who asks: 401 lets a browser say it, where 403 would be the end.
        if is_authenticated(self.application.options) and not self.current_user:
            raise HTTPError(401 if self.application.options.basic_auth else 403)
        guard.check_act(self.request, self.application.options)

    def get(self, *_: Any) -> None:
        raise HTTPError(405)

    async def post(self) -> None:
        try:
            asked = msgspec.json.decode(self.request.body or b"{}", type=Asked)
        except msgspec.DecodeError as error:
            raise HTTPError(400, str(error).replace("%", "%%")) from None
        self.write(await self.call(self.act, asked))

    def act(self, asked: Asked) -> dict[str, Any]:
        """Blocks, in a thread."""
        raise NotImplementedError

    def note(self, what: str, reason: str, operation: str = "", diff: str = "") -> bytes:
        return Note(
            who=guard.user_of(self),
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
        said = "it failed; Flower's log says why"
        if isinstance(error, HTTPError):
            said = error.get_message() or error.reason or said
        elif isinstance(error, LookupError):
            status_code, said = 404, str(error)
        elif isinstance(error, (ValueError, CeleriacError)):
            status_code, said = 400, str(error)
        self.set_status(status_code)
        self.write({"error": said})
        self.complete()


class Redrive(Act):
    did = "redrive"

    def act(self, asked: Asked) -> dict[str, Any]:
        domain, id = asked.place()
        records = self.backend.registry.handlers()
        done = redrive_letter(
            self.backend, records, domain, id, self.note(asked.letter, asked.reason)
        )
        return {"done": int(done), "gone": int(not done)}


class Discard(Act):
    did = "discard"

    def act(self, asked: Asked) -> dict[str, Any]:
        domain, id = asked.place()
        done = discard_letters(self.backend, [(domain, id)], self.note(asked.letter, asked.reason))
        return {"done": done, "gone": 1 - done}


class Edit(Act):
    """Corrects the event of a dead letter. Only users who are named may."""

    did = "edit"

    def prepare(self) -> None:
        super().prepare()
        guard.check_edit(guard.user_of(self))

    def act(self, asked: Asked) -> dict[str, Any]:
        domain, id = asked.place()
        letter = self.backend.deliveries.dead_letter(domain, id)
        if letter is None:
            return {"done": 0, "gone": 1}
        settings = self.service.settings
        change = unmasked_change(letter, asked.document, settings.sensitive_names)
        edit = edit_letter(letter, change, settings.sensitive_names)
        handler = self.service.handlers.get(letter.handler)
        if handler is not None:
            read_data(edit.event, handler.data_type)
        records = self.backend.registry.handlers()
        note = self.note(asked.letter, asked.reason, diff=edit.patch[:MAX_DIFF])
        done = apply_edit(self.backend, records, settings, edit, note)
        return {"done": int(done), "gone": int(not done), "id": edit.event.id}


class Count(Act):
    """How many an act would concern; a step at a time, as the acts are."""

    def act(self, asked: Asked) -> dict[str, Any]:
        until = asked.until_ms or self.backend.registry.now_ms()
        asked = msgspec.structs.replace(asked, until_ms=until)
        return _answer(count_batch(self.backend, asked.choice, asked.after), until, "")


class ManyAct(Act):
    """A step of an act on all that a choice finds."""

    def act(self, asked: Asked) -> dict[str, Any]:
        if asked.until_ms is None:
            raise HTTPError(400, "count first: until_ms says which were counted")
        operation = asked.operation or secrets.token_hex(8)
        step = self.step(asked, self.note(asked.what(), asked.reason, operation))
        return _answer(step, asked.until_ms, operation)

    def step(self, asked: Asked, note: bytes) -> Batch:
        raise NotImplementedError


class RedriveMany(ManyAct):
    did = "redrive"

    def step(self, asked: Asked, note: bytes) -> Batch:
        records = self.backend.registry.handlers()
        return redrive_batch(self.backend, records, asked.choice, asked.after, note)


class DiscardMany(ManyAct):
    did = "discard"

    def step(self, asked: Asked, note: bytes) -> Batch:
        return discard_batch(self.backend, asked.choice, asked.after, note)


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


class Replay(Act):
    """Runs one handler on one event again, whatever became of it before."""

    did = "replay"

    def act(self, asked: Asked) -> dict[str, Any]:
        located, *others = self.matrix.find_all(asked.event, source=asked.source, near=asked.at)
        if others:
            raise HTTPError(400, _ambiguous(asked.event, [located, *others]).replace("%", "%%"))
        if located.entry is None:
            raise NotFound(f"{asked.event} is postponed: its time is to come")
        record = _record(self.backend, asked.handler)
        group = Group(located.domain, record.id, record.flow_control)
        note = self.note(f"{record.id} {located.event.type} {asked.event}", asked.reason)
        done = self.backend.deliveries.schedule(group, [(located.entry, located.key)], note)
        return {"done": done, "gone": 1 - done}


def _ambiguous(event_id: str, found: Sequence[Located]) -> str:
    events = ", ".join(f"{one.event.source} in {one.domain}/{one.entry}" for one in found)
    return f"several events have the id {event_id}: {events}. Name one by `source` or `at`"


def _record(backend: Backend, handler: str | None) -> HandlerRecord:
    record = backend.registry.handlers().get(handler or "")
    if record is None:
        raise NotFound(f"no handler {handler} (any more)")
    return record


class Switch(Act):
    """Pauses or resumes one handler, over all workers."""

    def act(self, asked: Asked) -> dict[str, Any]:
        record = _record(self.backend, asked.handler)
        note = self.note(record.id, asked.reason)
        # Recorded first: an act that nobody can be named for must not be.
        for domain in sorted(record.since) or sorted(self.backend.event_log.domains())[:1]:
            self.backend.deliveries.record(domain, note)
            break
        return {"done": int(self.switch(record.id, asked.reason))}

    def switch(self, handler: str, reason: str) -> bool:
        raise NotImplementedError


class Pause(Switch):
    did = "pause"

    def switch(self, handler: str, reason: str) -> bool:
        said = f"by {guard.user_of(self)}" + (f": {reason}" if reason else "")
        self.backend.circuits.pause(handler, reason=said)
        return True


class Resume(Switch):
    did = "resume"

    def switch(self, handler: str, reason: str) -> bool:
        return self.backend.circuits.resume(handler)


ACTS: dict[str, Callable[..., Any]] = {
    "redrive": Redrive,
    "discard": Discard,
    "edit": Edit,
    "count-many": Count,
    "redrive-many": RedriveMany,
    "discard-many": DiscardMany,
    "replay": Replay,
    "pause": Pause,
    "resume": Resume,
}
