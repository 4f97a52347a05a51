"""The base of all actions: one POST of JSON, recorded in the audit log with its user."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from tornado.web import HTTPError

from celeriac.dead_letter import Choice, Note
from celeriac.errors import CeleriacError, NotFound
from celeriac.event_log import is_entry
from celeriac.flower import guard
from celeriac.flower.bind import is_authenticated
from celeriac.flower.page import FlowerPage

MAX_REASON = 200  # characters, as in the dialog


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of all actions; each uses those that it needs.

    `dead_letter` is `domain/id`. `handler`, `exception`, `type`, `tenant` and `error` choose dead
    letters up to `until_ms`. `after` and `operation` are from the answer to the previous step.
    `key` and `timer` choose an instance of the process `handler`.
    """

    dead_letter: str = ""
    handler: str | None = None
    exception: str | None = None
    type: str | None = None
    tenant: str | None = None
    error: str | None = None
    until_ms: int | None = None
    after: str = ""
    operation: str = ""
    event: str = ""
    source: str | None = None
    at: str = ""
    reason: str = ""
    document: str = ""
    key: str = ""
    timer: str = ""

    @property
    def choice(self) -> Choice:
        return Choice(
            handler=self.handler,
            pattern=self.type,
            error=self.error,
            exception=self.exception,
            until_ms=self.until_ms,
            tenant=self.tenant,
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
            "tenant": self.tenant,
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
