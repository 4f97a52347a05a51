"""Domains that were removed because they were empty, and the dispatchers that served them."""

from __future__ import annotations

from celeriac import Event, EventBus
from celeriac.delivery import Group
from celeriac.dispatcher.group_table import wake
from celeriac.dispatcher.poll_interval import IDLE
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent

WEEK_MS = 7 * 86_400_000
SECOND_MS = 1000


def forget(store: Store, domain: str) -> None:
    """What the maintenance of another worker does."""
    store.clock.advance(WEEK_MS + SECOND_MS)
    store.event_log.trim(domain)
    assert store.event_log.forget_domain(domain, WEEK_MS)


def since(store: Store, handler: str) -> set[str]:
    return set(store.registry.handlers()[handler].since)


def test_a_wildcard_leaves_a_domain_that_is_gone_and_joins_it_again_when_it_is_back(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    @bus.on("#")
    def audit(event: Event) -> None: ...

    turning = dispatcher()
    # Not emitted: the worker ignores what came before it knew of the domain.
    store.event_log.register_domains(["brief"])
    turning.run_once()
    assert {"brief"} == since(store, "billing.audit")
    forget(store, "brief")
    turning.run_once()
    turning.run_once()
    assert set() == since(store, "billing.audit")
    assert frozenset() == store.event_log.domains()
    bus.emit("brief.again", id="a")
    for _ in range(3):
        turning.run_once()
    assert [["a"]] == sent.ids
    assert {"brief"} == since(store, "billing.audit")


def test_a_wildcard_leaves_the_domain_as_soon_as_its_group_is_gone(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher
) -> None:
    """It does not wait until domains are searched again."""

    @bus.on("#")
    def audit(event: Event) -> None: ...

    now = [0.0]
    store.event_log.register_domains(["brief"])
    turning = dispatcher(clock=lambda: now[0])
    turning.run_once()
    forget(store, "brief")
    now[0] += IDLE - 0.1
    wake(turning._groups)
    turning.run_once()
    assert [] == list(turning._groups)


def test_a_handler_that_names_the_domain_keeps_it(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    """Its group went with the domain; it joins again, and has what comes then."""

    @bus.on("brief.*")
    def handle(event: Event) -> None: ...

    @bus.on("#")
    def audit(event: Event) -> None: ...

    turning = dispatcher()
    turning.run_once()
    forget(store, "brief")
    for _ in range(3):
        turning.run_once()
    assert {"brief"} == since(store, "billing.handle")
    assert {"billing.handle"} <= {state.handler for state in store.event_log.groups("brief")}
    bus.emit("brief.again", id="a")
    for _ in range(3):
        turning.run_once()
    assert Group("brief", "billing.handle") in {chunk.group for chunk in sent}
