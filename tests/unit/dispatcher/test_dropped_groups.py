"""What remains of groups that a dispatcher no longer serves."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.delivery import Group
from celeriac.dispatcher import Dispatcher
from celeriac.dispatcher.domain_reading import SHARED_FROM
from celeriac.dispatcher.group_state import NEVER, NOW
from celeriac.dispatcher.group_table import idle
from celeriac.dispatcher.task_sender import note_sent
from celeriac.testing.store import Store
from tests.unit.dispatcher.conftest import MakeDispatcher

WEEK_MS = 7 * 86_400_000


def charge(event: Event) -> None: ...


@pytest.fixture
def queues() -> set[str]:
    return {"billing", "slow"}


@pytest.fixture
def serving(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, queues: set[str]
) -> Dispatcher:
    """Serves as many groups of `order` as share a reading, `h0` from the queue `slow`."""
    for n in range(SHARED_FROM):
        bus.on("order.placed", name=f"h{n}", queue="billing" if n else "slow")(charge)
    made = dispatcher(queues=lambda: queues, clock=lambda: 0.0)
    for state in made._groups:
        idle(state, NEVER)
    return made


def drop(serving: Dispatcher, store: Store, queues: set[str], way: str) -> None:
    """Stop serving `h0`."""
    if way == "queue":
        queues.remove("slow")
        assert serving._members.follow_queues(lambda state: None)
        return
    store.registry.unregister("billing.h0")
    store.event_log.leave("order", "billing.h0")
    serving._members.join_again([serving._groups[Group("order", "billing.h0")]])


@pytest.mark.parametrize("way", ["queue", "operator"])
def test_a_dropped_group_occupies_nothing_and_the_others_are_polled(
    serving: Dispatcher, store: Store, queues: set[str], way: str
) -> None:
    members = serving._members
    state = serving._groups[Group("order", "billing.h0")]
    note_sent(state, 1)
    serving._share.took(state, 3)
    assert "order" in serving._reader
    drop(serving, store, queues, way)
    assert (0, 0, []) == (state.of.waiting_tasks, state.of.in_flight.everywhere, state.of.groups)
    kept = [f"billing.h{n}" for n in range(1, SHARED_FROM)]
    assert kept == [handler.id for handler in members.handlers] == sorted(members.records)
    assert kept == [other.handler.id for other in serving._groups]
    assert {NOW} == {other.poll_at for other in serving._groups}
    assert "order" not in serving._reader, "too few groups share it"


def test_a_handler_of_an_unchanged_queue_stays(serving: Dispatcher, queues: set[str]) -> None:
    requeued: list[Any] = []
    assert not serving._members.follow_queues(requeued.append)
    assert ([], SHARED_FROM) == (requeued, len(serving._groups))


def test_a_dispatcher_for_pools_elsewhere_follows_no_queues(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher
) -> None:
    bus.on("order.placed")(charge)
    assert not dispatcher()._members.follow_queues(lambda state: None)


def test_the_groups_of_an_added_queue_are_joined_and_read(
    serving: Dispatcher, store: Store, queues: set[str]
) -> None:
    drop(serving, store, queues, "queue")
    serving._members.join_domains()
    assert "order" not in serving._reader
    queues.add("slow")
    serving._members.follow_queues(lambda state: None)
    serving._members.join_domains()
    assert SHARED_FROM == len(serving._groups)
    assert "order" in serving._reader
    assert "billing.h0" in serving._members.records


def test_a_domain_that_is_gone_is_left_by_wildcards_when_domains_are_searched(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher
) -> None:
    bus.on("#", name="audit")(charge)
    bus.on("brief.*", "order.placed", name="named")(charge)
    store.event_log.register_domains(["brief", "other"])
    serving = dispatcher(clock=lambda: 0.0)
    serving.run_once()
    groups = {Group(domain, "billing.audit") for domain in ("brief", "other", "order")}
    assert groups <= {state.group for state in serving._groups}
    store.clock.advance(WEEK_MS + 1000)
    store.event_log.trim("brief")
    assert store.event_log.forget_domain("brief", WEEK_MS)
    members = serving._members
    members.look_for_domains()
    members.join_domains()
    assert {
        "billing.audit": {"other", "order"}, "billing.named": {"brief", "order"}
    } == {name: set(record.since) for name, record in members.records.items()}  # fmt: skip
    assert {"brief"} == {
        state.group.domain for state in serving._groups if state.handler.name == "named"
    } - {"order"}
    assert Group("brief", "billing.audit") not in serving._groups
    assert Group("other", "billing.audit") in serving._groups
