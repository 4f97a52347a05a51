"""Why a handler did or did not get an event; linked from each cell of the matrix."""

from __future__ import annotations

from dataclasses import dataclass

from tornado.web import HTTPError, authenticated

from celeriac.errors import InvalidEvent
from celeriac.event import build_event, decode, encode
from celeriac.explain import (
    BusReader,
    CheckResult,
    Explanation,
    explain,
    gather,
    gather_unemitted,
    gather_unfound,
)
from celeriac.flower.page import FlowerPage
from celeriac.tracking import EventNotFound, Located, Matrix

MARKS = {
    CheckResult.PASSED: "✓",
    CheckResult.FAILED: "✗",
    CheckResult.WAITING: "…",
    CheckResult.UNKNOWN: "?",
}


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """An event by its id, with `at` its entry, or a `type` and a `tenant` of events."""

    event: str
    at: str
    type: str
    tenant: str
    handler: str
    lease_ms: int


class ExplainPage(FlowerPage):
    name = "explain"

    @authenticated
    async def get(self) -> None:
        request = ExplainRequest(
            event=self.parameter("event") or "",
            at=self.parameter("at") or "",
            type=self.parameter("type") or "",
            tenant=self.parameter("tenant") or "",
            handler=self.parameter("handler") or "",
            lease_ms=int(self.service.settings.lease * 1000),
        )
        if not (request.event or request.type):
            raise HTTPError(400, "event is missing. Pass event or type.")
        explanations = await self.call(read_explanations, self.matrix, request)
        self.show(
            request_=request,
            explanations=explanations,
            marks=MARKS,
            explain_url=self.explain_url,
            live_url=self.get_live_url(),
        )


def read_explanations(matrix: Matrix, request: ExplainRequest) -> list[Explanation]:
    """Return the explanation of the handler, or one for each handler. Blocks."""
    reading = BusReader(matrix.backend, lease_ms=request.lease_ms)
    names = [request.handler] if request.handler else reading.names
    if not request.event:
        try:
            made = build_event(request.type, None, source="explain", tenant=request.tenant or None)
            event = decode(encode(made))
        except InvalidEvent as error:
            raise HTTPError(400, str(error).replace("%", "%%")) from None
        return [explain(facts) for facts in gather_unemitted(reading, event, names)]
    located = _located(matrix, request)
    if isinstance(located, EventNotFound):
        partial = located.is_partial
        every = gather_unfound(reading, request.event, names, is_partial=partial)
    else:
        every = gather(reading, located, names)
    return [explain(facts) for facts in every]


def _located(matrix: Matrix, request: ExplainRequest) -> Located | EventNotFound:
    try:
        return matrix.find(request.event, near=request.at)
    except EventNotFound as error:
        return error
