"""The filter of a handler: what `share=` and `when=` let through, and the names in `tenants=`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from celeriac.errors import SubscriptionError
from celeriac.event import Event
from celeriac.handler.share import in_share, sharing_subject
from celeriac.tenant import tenants_fault

Predicate = Callable[[Event[Any]], bool]


class EventFilter:
    """A `when=` predicate that first rejects the events outside the share."""

    __slots__ = ("share", "when")

    def __init__(self, share: float, when: Predicate | None) -> None:
        self.share, self.when = share, when

    def __call__(self, event: Event[Any]) -> bool:
        if not in_share(sharing_subject(event), self.share):
            return False
        return self.when is None or bool(self.when(event))


def event_filter(share: float | None, when: Predicate | None) -> Predicate | None:
    """Return the filter of a handler for its options; None if it rejects no event.

    Tenants are checked before it, because the data of excluded events is not read.
    """
    return when if share is None else EventFilter(share, when)


def given_when(filter: Predicate | None) -> Predicate | None:
    """Return the function that was given as `when=`."""
    return filter.when if isinstance(filter, EventFilter) else filter


def read_tenants(tenants: Any) -> frozenset[str] | None:
    """Return the names in `tenants=`; None for every event. Raises SubscriptionError.

    An empty list is refused: it would reject every event.
    """
    if tenants is None:
        return None
    if isinstance(tenants, str) or not isinstance(tenants, Iterable):
        raise SubscriptionError(f"tenants={tenants!r}: must be a list of names, like ['acme']")
    names = list(tenants)
    if not names:
        raise SubscriptionError(
            "tenants=[]: must have at least one name. Omit it to get the events of every tenant"
        )
    if fault := tenants_fault(names):
        raise SubscriptionError(f"tenants={names!r}: {fault}")
    return frozenset(names)
