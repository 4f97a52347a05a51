"""Why a handler did, or did not, get an event: behind each cell of the matrix."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import HTTPError, authenticated

from celeriac.errors import InvalidEvent
from celeriac.event import build_event, decode, encode
from celeriac.explain import (
    Explanation,
    Reading,
    Verdict,
    explain,
    gather,
    gather_unemitted,
    gather_unfound,
)
from celeriac.flower.page import Page
from celeriac.tracking import EventNotFound, Located, Matrix

MARKS = {Verdict.PASSED: "✓", Verdict.FAILED: "✗", Verdict.WAITING: "…", Verdict.UNKNOWN: "?"}


@dataclass(frozen=True, slots=True)
class Asked:
    """An event by its id, `at` an entry, or one that is only described by its `type`."""

    event: str
    at: str
    type: str
    handler: str
    lease_ms: int


class ExplainPage(Page):
    name = "explain"

    @authenticated
    async def get(self) -> None:
        asked = Asked(
            event=self.asked("event") or "",
            at=self.asked("at") or "",
            type=self.asked("type") or "",
            handler=self.asked("handler") or "",
            lease_ms=int(self.service.settings.lease * 1000),
        )
        if not (asked.event or asked.type):
            raise HTTPError(400, "explain: name an event, or a type")
        found = await self.call(read_explanations, self.matrix, asked)
        self.show(
            asked=asked,
            found=found,
            marks=MARKS,
            explain_url=self.explain_url,
            live_url=self.get_live_url(),
        )


def read_explanations(matrix: Matrix, asked: Asked) -> list[Explanation]:
    """That of the handler, or one for each handler. Blocks."""
    reading = Reading(matrix.backend, lease_ms=asked.lease_ms)
    names = [asked.handler] if asked.handler else reading.names
    if not asked.event:
        try:
            event = decode(encode(build_event(asked.type, None, source="explain")))
        except InvalidEvent as error:
            raise HTTPError(400, str(error).replace("%", "%%")) from None
        return [explain(facts) for facts in gather_unemitted(reading, event, names)]
    located = _located(matrix, asked)
    if isinstance(located, EventNotFound):
        partial = located.is_partial
        every = gather_unfound(reading, asked.event, names, is_partial=partial)
    else:
        every = gather(reading, located, names)
    return [explain(facts) for facts in every]


def _located(matrix: Matrix, asked: Asked) -> Located | EventNotFound:
    try:
        return matrix.find(asked.event, near=asked.at)
    except EventNotFound as error:
        return error
