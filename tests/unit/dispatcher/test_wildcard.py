"""Handlers of any domain, together with ones of named domains."""

from __future__ import annotations

from celeriac import Event, EventBus
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import MakeDispatcher


def test_a_wildcard_joins_domains_that_its_neighbour_announced(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher
) -> None:
    """On an empty Redis: the domains come to be by the very join that offers them to it."""

    @bus.on("order.placed")
    def charge(event: Event) -> None: ...

    @bus.on("#")
    def audit(event: Event) -> None: ...

    dispatcher().run_once()
    groups = {state.handler for state in store.event_log.groups("order")}
    assert groups == {"billing.charge", "billing.audit"}
