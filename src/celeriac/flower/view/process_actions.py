"""Actions on an instance of a process: abort it, or let a timer expire now."""

from __future__ import annotations

from typing import Any

from celeriac.dead_letter import Note
from celeriac.flower import guard
from celeriac.flower.view.action import MAX_REASON, Action, ActionRequest
from celeriac.flower.view.processes import open_outbox
from celeriac.process.action import fire_now, open_instance, request_abort


class AbortInstance(Action):
    """Request that a process aborts an instance."""

    did = "abort"

    def run(self, request: ActionRequest) -> dict[str, Any]:
        settings, handler = self.service.settings, request.handler or ""
        database = open_outbox(settings)
        try:
            instance = open_instance(database, handler, request.key)
        finally:
            database.close()
        reason = request.reason or f"aborted by {guard.user_of(self)}"
        note = self._note(f"{handler} {request.key}", reason)
        return {"done": 1, "gone": 0, "id": request_abort(self.backend, settings, instance, note)}

    def _note(self, what: str, reason: str) -> Note:
        return Note(actor=guard.user_of(self), did=self.did, what=what, reason=reason[:MAX_REASON])


class RemindInstance(AbortInstance):
    """Let a timer expire now."""

    did = "remind"

    def run(self, request: ActionRequest) -> dict[str, Any]:
        handler = request.handler or ""
        database = open_outbox(self.service.settings)
        try:
            instance = open_instance(database, handler, request.key)
            note = self._note(f"{handler} {request.key} {request.timer}", request.reason)
            fire_now(database, self.backend, instance, request.timer, note)
        finally:
            database.close()
        return {"done": 1, "gone": 0}
