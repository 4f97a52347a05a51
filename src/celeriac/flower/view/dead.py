"""Dead letters: in groups by handler and error, or those that a filter chooses, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tornado.web import authenticated

from celeriac.dead_letter import Choice, DeadPage, dead_page, letter_document, masked_document
from celeriac.delivery import DeadGroup, DeadLetter
from celeriac.errors import InvalidEvent
from celeriac.event import masked_envelope, read_header
from celeriac.flower.page import MAX_SUGGESTED, Page
from celeriac.flower.show import json
from celeriac.tracking import Matrix

LIMIT = 25
MAX_GROUPS = 100
# In an address: of errors that begin with no name of a type, which is a group too.
UNTYPED = "-"
FILTERS = ("handler", "exception", "type", "error")


@dataclass(frozen=True, slots=True)
class DeadGroupView:
    """Dead letters of one handler and error, domains together; `newest` is the last that came."""

    handler: str
    exception: str
    count: int
    newest: DeadLetter | None

    @property
    def choice(self) -> Choice:
        return Choice(handler=self.handler, exception=self.exception)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and what may be seen of its event."""

    letter: DeadLetter
    type: str
    subject: str
    event: Any
    document: str = ""

    @property
    def name(self) -> str:
        return f"{self.letter.domain}/{self.letter.id}"

    @property
    def what(self) -> str:
        """Handler, event and error in one line, for the question before an act and its answer."""
        event = " ".join(part for part in (self.type or "no event", self.subject) if part)
        return f"{self.letter.handler}, {event}: {self.letter.error}"


@dataclass(frozen=True, slots=True)
class Read:
    groups: list[DeadGroupView]
    more_groups: int
    total: int
    page: DeadPage | None
    letters: list[Letter]
    handlers: list[str]


class DeadPageView(Page):
    name = "dead"

    @authenticated
    async def get(self) -> None:
        asked = {name: self.asked(name) for name in FILTERS}
        choice = Choice(
            handler=asked["handler"],
            exception="" if asked["exception"] == UNTYPED else asked["exception"],
            pattern=asked["type"],
            error=asked["error"],
        )
        before = self.cursor()
        may_edit = not self.may_edit
        read = await self.call(read_dead, self.matrix, choice, before, may_edit)
        self.show(
            read=read,
            asked=asked,
            choice=said(choice),
            said=said,
            untyped=UNTYPED,
            before=before,
            address=lambda **change: self._address({**asked, "before": before, **change}),
            live_url=self.get_live_url(),
        )

    def _address(self, asked: dict[str, Any]) -> str:
        chosen = {name: value for name, value in asked.items() if value}
        here = self.reverse_url("celeriac-dead")
        return f"{here}?{urlencode(chosen)}" if chosen else here


def said(choice: Choice) -> dict[str, str]:
    """A choice as acts take it."""
    values = {
        "handler": choice.handler,
        "exception": choice.exception,
        "type": choice.pattern,
        "error": choice.error,
    }
    return {name: value for name, value in values.items() if value is not None}


def read_dead(matrix: Matrix, choice: Choice, before: str, may_edit: bool = False) -> Read:
    """The groups, and where anything is chosen a page of letters. Blocks."""
    backend = matrix.backend
    found = [
        g for domain in backend.event_log.domains() for g in backend.deliveries.dead_groups(domain)
    ]
    by_key = _merged(found)
    page, letters = None, []
    if choice != Choice():
        page = dead_page(backend, choice, before=before, limit=LIMIT)
        letters = [_shown(letter, matrix, may_edit) for letter in page.letters]
    return Read(
        groups=[_group(matrix, *one) for one in by_key[:MAX_GROUPS]],
        more_groups=max(0, len(by_key) - MAX_GROUPS),
        total=sum(one.count for one in found),
        page=page,
        letters=letters,
        handlers=sorted({one.handler for one in found})[:MAX_SUGGESTED],
    )


def _merged(found: list[DeadGroup]) -> list[tuple[int, list[DeadGroup]]]:
    """How many letters, and the groups of all domains that they are of; the largest first."""
    by_key: dict[tuple[str, str], list[DeadGroup]] = {}
    for one in found:
        by_key.setdefault((one.handler, one.exception), []).append(one)
    counted = {key: sum(one.count for one in own) for key, own in by_key.items()}
    return [(counted[key], by_key[key]) for key in sorted(by_key, key=lambda k: (-counted[k], k))]


def _group(matrix: Matrix, count: int, own: list[DeadGroup]) -> DeadGroupView:
    last = max(own, key=lambda one: one.newest)
    newest = matrix.backend.deliveries.dead_letter(last.domain, last.newest)
    return DeadGroupView(last.handler, last.exception, count, newest)


def _shown(letter: DeadLetter, matrix: Matrix, may_edit: bool) -> Letter:
    try:
        event = read_header(letter.event)
        type, subject = event.type, event.subject or ""
    except InvalidEvent:
        type = subject = ""
    masked = masked_envelope(letter.event, matrix.sensitive)
    return Letter(letter, type, subject, masked, _document(letter, matrix) if may_edit else "")


def _document(letter: DeadLetter, matrix: Matrix) -> str:
    """What is edited, without sensitive values; empty for what cannot be edited."""
    try:
        document = masked_document(letter_document(letter), matrix.sensitive)
    except InvalidEvent:
        return ""
    return json(document)
