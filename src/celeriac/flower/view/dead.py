"""Dead letters: groups by handler and error, or the dead letters that a filter selects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tornado.web import authenticated

from celeriac.dead_letter import (
    Choice,
    DeadPage,
    ErasedData,
    dead_page,
    document_of,
    masked_document,
)
from celeriac.delivery import DeadGroup, DeadLetter
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.flower.page import MAX_SUGGESTED, FlowerPage
from celeriac.flower.show import json
from celeriac.tracking import Matrix

LIMIT = 25
MAX_GROUPS = 100
# In a URL: the group of errors that do not begin with the name of a type.
UNTYPED = "-"
FILTERS = ("handler", "exception", "type", "tenant", "error")


@dataclass(frozen=True, slots=True)
class DeadGroupView:
    """Dead letters of one handler and error, over all domains; `newest` is the last one."""

    handler: str
    exception: str
    count: int
    newest: DeadLetter | None

    @property
    def choice(self) -> Choice:
        return Choice(handler=self.handler, exception=self.exception)


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter and the visible part of its event."""

    dead_letter: DeadLetter
    type: str
    subject: str
    tenant: str
    event: Any
    document: str = ""

    @property
    def name(self) -> str:
        return f"{self.dead_letter.domain}/{self.dead_letter.id}"

    @property
    def what(self) -> str:
        """Handler, event and error, for the confirmation and the result of an action."""
        event = " ".join(part for part in (self.type or "no event", self.subject) if part)
        return f"{self.dead_letter.handler}, {event}: {self.dead_letter.error}"


@dataclass(frozen=True, slots=True)
class DeadContent:
    groups: list[DeadGroupView]
    more_groups: int
    total: int
    page: DeadPage | None
    dead_letters: list[DeadLetterView]
    handlers: list[str]


class DeadPageView(FlowerPage):
    name = "dead"

    @authenticated
    async def get(self) -> None:
        filters = {name: self.parameter(name) for name in FILTERS}
        choice = Choice(
            handler=filters["handler"],
            exception="" if filters["exception"] == UNTYPED else filters["exception"],
            pattern=filters["type"],
            error=filters["error"],
            tenant=filters["tenant"],
        )
        before = self.cursor()
        may_edit = not self.may_edit
        read = await self.call(read_dead, self.matrix, choice, before, may_edit)
        self.show(
            read=read,
            filters=filters,
            choice=choice_arguments(choice),
            arguments_of=choice_arguments,
            untyped=UNTYPED,
            before=before,
            address=lambda **change: self._address({**filters, "before": before, **change}),
            live_url=self.get_live_url(),
        )

    def _address(self, filters: dict[str, Any]) -> str:
        chosen = {name: value for name, value in filters.items() if value}
        here = self.reverse_url("celeriac-dead")
        return f"{here}?{urlencode(chosen)}" if chosen else here


def choice_arguments(choice: Choice) -> dict[str, str]:
    """Return the arguments that actions take for the choice."""
    values = {
        "handler": choice.handler,
        "exception": choice.exception,
        "type": choice.pattern,
        "tenant": choice.tenant,
        "error": choice.error,
    }
    return {name: value for name, value in values.items() if value is not None}


def read_dead(matrix: Matrix, choice: Choice, before: str, may_edit: bool = False) -> DeadContent:
    """Return the groups, and for a choice one page of dead letters. Blocks."""
    backend = matrix.backend
    groups = [
        g for domain in backend.event_log.domains() for g in backend.deliveries.dead_groups(domain)
    ]
    by_key = _merged(groups)
    page, dead_letters = None, []
    if choice != Choice():
        page = dead_page(backend, choice, before=before, limit=LIMIT)
        erased = ErasedData(backend)
        dead_letters = [
            _shown(dead_letter, matrix, may_edit, erased) for dead_letter in page.dead_letters
        ]
    return DeadContent(
        groups=[_group_view(matrix, *group) for group in by_key[:MAX_GROUPS]],
        more_groups=max(0, len(by_key) - MAX_GROUPS),
        total=sum(group.count for group in groups),
        page=page,
        dead_letters=dead_letters,
        handlers=sorted({group.handler for group in groups})[:MAX_SUGGESTED],
    )


def _merged(groups: list[DeadGroup]) -> list[tuple[int, list[DeadGroup]]]:
    """Return the groups of equal handler and error with their totals, the largest first."""
    by_key: dict[tuple[str, str], list[DeadGroup]] = {}
    for group in groups:
        by_key.setdefault((group.handler, group.exception), []).append(group)
    counted = {key: sum(group.count for group in merged) for key, merged in by_key.items()}
    return [(counted[key], by_key[key]) for key in sorted(by_key, key=lambda k: (-counted[k], k))]


def _group_view(matrix: Matrix, count: int, groups: list[DeadGroup]) -> DeadGroupView:
    last = max(groups, key=lambda group: group.newest)
    newest = matrix.backend.deliveries.dead_letter(last.domain, last.newest)
    return DeadGroupView(last.handler, last.exception, count, newest)


def _shown(
    dead_letter: DeadLetter, matrix: Matrix, may_edit: bool, erased: ErasedData
) -> DeadLetterView:
    try:
        event = read_header(dead_letter.event)
        type, subject, tenant = event.type, event.subject or "", event.tenant or ""
    except InvalidEvent:
        type = subject = tenant = ""
    masked = erased.envelope(dead_letter.event, matrix.sensitive)
    document = editable_document(dead_letter, matrix) if may_edit else ""
    return DeadLetterView(dead_letter, type, subject, tenant, masked, document)


def editable_document(dead_letter: DeadLetter, matrix: Matrix) -> str:
    """Return the document to edit, without sensitive values; empty if it cannot be edited."""
    try:
        document = masked_document(document_of(dead_letter), matrix.sensitive)
    except InvalidEvent:
        return ""
    return json(document)
