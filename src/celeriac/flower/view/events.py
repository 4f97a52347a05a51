"""Events: a live table, newest first, at the same cost for a thousand and a million."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tornado.web import authenticated

from celeriac.delivery import Group
from celeriac.errors import InvalidEvent
from celeriac.flower.page import MAX_SUGGESTED, Page, now_ms
from celeriac.tracking import DeliveryState, EventPage, Matrix, Query

LIMIT = 50
SPANS = {"5m": 300, "1h": 3600, "24h": 86400, "7d": 7 * 86400}
FILTERS = ("type", "service", "handler", "state", "last", "until", "id", "subject")
# One request goes on by itself where a search has found nothing, but not for long.
MOST_STEPS, MOST_SECONDS = 4, 0.5


class EventsPage(Page):
    name = "events"

    @authenticated
    async def get(self) -> None:
        asked = {name: self.asked(name) for name in FILTERS}
        query = query_of(asked, now_ms())
        before = self.cursor()
        matrix = self.matrix
        page = await self.call(_read, matrix, query, before)
        choices = await self.call(read_choices, matrix, self.asked("live") is None)
        self.show(
            asked=asked,
            page=page,
            choices=choices,
            before=before,
            states=tuple(DeliveryState),
            spans=SPANS,
            address=lambda **change: self._address({**asked, "before": before, **change}),
            explain_url=self.explain_url,
            live_url=self.get_live_url(),
            is_filtered=any(asked.values()),
        )

    def _address(self, asked: dict[str, Any]) -> str:
        chosen = {name: value for name, value in asked.items() if value}
        here = self.reverse_url("celeriac-events")
        return f"{here}?{urlencode(chosen)}" if chosen else here


def query_of(asked: dict[str, str | None], now: int) -> Query:
    """What the filters ask for. Raises InvalidEvent for what is no choice."""
    state, last, until = asked["state"], asked["last"], asked["until"]
    if state is not None and state not in DeliveryState.__members__.values():
        raise InvalidEvent(f"state={state!r}: there are {', '.join(DeliveryState)}")
    if last is not None and last not in SPANS:
        raise InvalidEvent(f"last={last!r}: there are {', '.join(SPANS)}")
    return Query(
        pattern=asked["type"],
        service=asked["service"],
        handler=asked["handler"],
        state=DeliveryState(state) if state else None,
        since_ms=now - SPANS[last] * 1000 if last else None,
        until_ms=_time_ms(until) if until else None,
        id=asked["id"],
        subject=asked["subject"],
    )


def _time_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(f"until={text!r}: a time like 2026-11-23T07:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp() * 1000))


def _read(matrix: Matrix, query: Query, before: str) -> EventPage:
    page = matrix.page(query, before=before, limit=LIMIT)
    begun = time.monotonic()
    for _ in range(MOST_STEPS):
        if page.events or page.full or page.older is None:
            break
        if time.monotonic() - begun > MOST_SECONDS:
            break
        page = matrix.page(query, before=page.older, limit=LIMIT)
    return page


def read_choices(matrix: Matrix, whole: bool) -> dict[str, Any]:
    """How much there is in all; for a whole page also what there is to choose from."""
    backend = matrix.backend
    domains = sorted(backend.event_log.domains())
    found: dict[str, Any] = {
        "length": sum(backend.event_log.length(domain) for domain in domains),
        "domains": len(domains),
        "postponed": sum(backend.event_log.postponed(domain) for domain in domains),
    }
    if whole:
        records = backend.registry.handlers()
        groups = [
            Group(domain, record.id) for record in records.values() for domain in record.since
        ]
        types = {type for counters in backend.deliveries.counters(groups) for type in counters}
        found["types"] = sorted(types)[:MAX_SUGGESTED]
        handlers, services = sorted(records), sorted({one.service for one in records.values()})
        found["handlers"], found["services"] = handlers[:MAX_SUGGESTED], services[:MAX_SUGGESTED]
        found["more_handlers"] = max(0, len(handlers) - MAX_SUGGESTED)
        found["more_services"] = max(0, len(services) - MAX_SUGGESTED)
    return found
