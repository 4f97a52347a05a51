"""Events: a live table, newest first, at the same cost for a thousand and a million events."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tornado.web import authenticated

from celeriac.delivery import Group
from celeriac.errors import InvalidEvent
from celeriac.flower.page import MAX_SUGGESTED, FlowerPage, now_ms
from celeriac.tracking import DeliveryState, EventPage, Matrix, Query

LIMIT = 50
SPANS = {"5m": 300, "1h": 3600, "24h": 86400, "7d": 7 * 86400}
FILTERS = ("type", "service", "handler", "state", "last", "until", "id", "subject", "tenant")
# Limits of one request that continues an empty search.
MAX_STEPS, MAX_SECONDS = 4, 0.5


class EventsPage(FlowerPage):
    name = "events"

    @authenticated
    async def get(self) -> None:
        filters = {name: self.parameter(name) for name in FILTERS}
        query = query_of(filters, now_ms())
        before = self.cursor()
        matrix = self.matrix
        page = await self.call(_read, matrix, query, before)
        choices = await self.call(read_choices, matrix, self.parameter("live") is None)
        self.show(
            filters=filters,
            page=page,
            choices=choices,
            before=before,
            states=tuple(DeliveryState),
            spans=SPANS,
            address=lambda **change: self._address({**filters, "before": before, **change}),
            explain_url=self.explain_url,
            live_url=self.get_live_url(),
            is_filtered=any(filters.values()),
        )

    def _address(self, filters: dict[str, Any]) -> str:
        chosen = {name: value for name, value in filters.items() if value}
        here = self.reverse_url("celeriac-events")
        return f"{here}?{urlencode(chosen)}" if chosen else here


def query_of(filters: dict[str, str | None], now: int) -> Query:
    """Return the query of the filters. Raises InvalidEvent if a filter is invalid."""
    state, last, until = filters["state"], filters["last"], filters["until"]
    if state is not None and state not in DeliveryState.__members__.values():
        raise InvalidEvent(f"state is invalid: {state!r}. Use one of {', '.join(DeliveryState)}.")
    if last is not None and last not in SPANS:
        raise InvalidEvent(f"last is invalid: {last!r}. Use one of {', '.join(SPANS)}.")
    return Query(
        pattern=filters["type"],
        service=filters["service"],
        handler=filters["handler"],
        state=DeliveryState(state) if state else None,
        since_ms=now - SPANS[last] * 1000 if last else None,
        until_ms=_time_ms(until) if until else None,
        id=filters["id"],
        subject=filters["subject"],
        tenant=filters["tenant"],
    )


def _time_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(
            f"until is invalid: {text!r}. Write a time such as 2026-11-23T07:00."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp() * 1000))


def _read(matrix: Matrix, query: Query, before: str) -> EventPage:
    page = matrix.page(query, before=before, limit=LIMIT)
    begun = time.monotonic()
    for _ in range(MAX_STEPS):
        if page.events or page.full or page.older is None:
            break
        if time.monotonic() - begun > MAX_SECONDS:
            break
        page = matrix.page(query, before=page.older, limit=LIMIT)
    return page


def read_choices(matrix: Matrix, is_full_page: bool) -> dict[str, Any]:
    """Return the totals, and for a full page the values of the filters."""
    backend = matrix.backend
    domains = sorted(backend.event_log.domains())
    choices: dict[str, Any] = {
        "length": sum(backend.event_log.length(domain) for domain in domains),
        "domains": len(domains),
        "delayed": sum(backend.event_log.delayed(domain) for domain in domains),
    }
    if is_full_page:
        records = backend.registry.handlers()
        groups = [
            Group(domain, record.id) for record in records.values() for domain in record.since
        ]
        types = {type for counters in backend.deliveries.counters(groups) for type in counters}
        choices["types"] = sorted(types)[:MAX_SUGGESTED]
        handlers, services = (
            sorted(records),
            sorted({record.service for record in records.values()}),
        )
        choices["handlers"], choices["services"] = (
            handlers[:MAX_SUGGESTED],
            services[:MAX_SUGGESTED],
        )
        choices["more_handlers"] = max(0, len(handlers) - MAX_SUGGESTED)
        choices["more_services"] = max(0, len(services) - MAX_SUGGESTED)
    return choices
