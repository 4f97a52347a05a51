"""Count events and deliveries by tenant, as middleware: only where a setting names tenants."""

from __future__ import annotations

from collections.abc import Callable, Collection

from celeriac.delivery.counters import OTHER
from celeriac.delivery.tenant_counts import Counted, TenantCount, TenantCounts
from celeriac.event import Event
from celeriac.middleware import Attempt, Middleware


class TenantMetrics(Middleware):
    """Counts the named tenants each, and all other tenants as `other`.

    Events without a tenant are not counted. The number of names bounds the number of series.
    """

    def __init__(self, names: Collection[str], counts: Callable[[], TenantCounts]) -> None:
        self._names = frozenset(names)
        self._counts = counts

    def after_emit(self, event: Event) -> None:
        if event.tenant is not None:
            self._counts().note((TenantCount("emitted", self._label(event.tenant)),))

    def after_attempt(self, attempt: Attempt) -> None:
        if attempt.outcome == "processed":
            self._note("processed", attempt)

    def attempt_failed(self, attempt: Attempt) -> None:
        if attempt.outcome == "dead":
            self._note("dead", attempt)

    def _note(self, what: Counted, attempt: Attempt) -> None:
        counted = [
            TenantCount(what, self._label(event.tenant), attempt.handler)
            for event in attempt.events
            if event.tenant is not None
        ]
        if counted:
            self._counts().note(counted)

    def _label(self, tenant: str) -> str:
        return tenant if tenant in self._names else OTHER
