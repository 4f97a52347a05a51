"""What a group leaves to other versions of its handler, and what is done about lost groups."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from celeriac import Event, EventBus
from celeriac.delivery import Group
from celeriac.dispatcher import Dispatcher, membership
from celeriac.dispatcher.group_state import NEVER, NOW, UNKNOWN, GroupState
from celeriac.dispatcher.membership import Membership
from celeriac.dispatcher.poll_interval import IDLE
from celeriac.testing.store import Store
from tests.logged import messages_of
from tests.unit.dispatcher.conftest import MakeDispatcher
from tests.unit.dispatcher.readings import prefetch


def charge(event: Event) -> None: ...


def member(
    bus: EventBus, dispatcher: MakeDispatcher, *patterns: str, **options: Any
) -> tuple[Membership, GroupState]:
    """Serve a handler with these patterns; return its group on `order`."""
    bus.on(*patterns, **options)(charge)
    made = dispatcher()
    return made._members, made._groups[Group("order", "billing.charge")]


@pytest.mark.parametrize(
    ("domain", "in_force", "left"),
    [
        # This code subscribes to the domain.
        ("order", ("order.placed", "order.paid"), False),
        # Only other code does, by the name of the domain or for all domains.
        ("payment", ("order.placed", "payment.made"), True),
        ("payment", ("order.placed", "#"), True),
        # No version does: nothing is left to any.
        ("payment", ("order.placed", "ship.sent"), False),
        ("payment", ("order.placed",), False),
        ("payment", ("order.placed", "@acme"), False),
        ("payment", (), False),
    ],
)
def test_a_domain_of_other_versions_alone_is_left_to_them(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, domain: str,
    in_force: tuple[str, ...], left: bool,
) -> None:  # fmt: skip
    members, state = member(bus, dispatcher, "order.placed")
    state.group, state.in_force = state.handler.group(domain), in_force
    assert left is members.is_left_to_others(state)


def test_a_wildcard_leaves_no_domain_to_others(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher
) -> None:
    members, state = member(bus, dispatcher, "order.placed", "*.failed")
    state.group, state.in_force = state.handler.group("payment"), ("payment.made",)
    assert not members.is_left_to_others(state)


@pytest.mark.parametrize(
    ("in_force", "retired", "may_share"),
    [
        (("order.placed",), {}, True),
        (("order.placed", "order.paid"), {}, False),
        (("order.placed", "@acme"), {}, False),
        (("order.placed",), {"order.paid": 5}, False),
        (("order.placed",), {"#": 5}, False),
        (("order.placed",), {"payment.made": 5}, True),
    ],
)
def test_a_group_shares_a_reading_if_no_other_version_ever_wanted_more_of_its_domain(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, in_force: tuple[str, ...],
    retired: dict[str, int], may_share: bool,
) -> None:  # fmt: skip
    members, state = member(bus, dispatcher, "order.placed")
    state.in_force = in_force
    record = members.records[state.handler.id]
    members.records[state.handler.id] = msgspec.structs.replace(record, retired=retired)
    assert may_share is members.may_share(state)
    in_domain = {p: at for p, at in retired.items() if p != "payment.made"}
    assert in_domain == members.retired(state)
    members.records.clear()
    assert {} == members.retired(state)


@pytest.mark.parametrize(
    ("before", "after", "in_force", "reads_record"),
    [
        (("order.placed",), ("order.placed",), ("order.placed",), 0),
        # Another version joined.
        (("order.placed",), ("order.placed", "order.paid"), ("order.placed", "order.paid"), 0),
        # One was retired: its time is in the record.
        (("order.placed", "order.paid"), ("order.placed",), ("order.placed",), 1),
        ((), ("order.placed",), ("order.placed",), 0),
    ],
)
def test_the_patterns_in_force_are_those_that_the_store_returned(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, monkeypatch: pytest.MonkeyPatch,
    before: tuple[str, ...], after: tuple[str, ...], in_force: tuple[str, ...], reads_record: int,
) -> None:  # fmt: skip
    members, state = member(bus, dispatcher, "order.placed")
    reads: list[Any] = []
    registered = store.registry.registered

    def noted(handlers: Any) -> Any:
        reads.append(handlers)
        return registered(handlers)

    monkeypatch.setattr(store.registry, "registered", noted)
    state.in_force = before
    members.note_in_force(state, after)
    assert (in_force, reads_record) == (state.in_force, len(reads))


def test_a_pattern_of_this_code_that_the_store_lost_is_in_force_again(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher
) -> None:
    members, state = member(bus, dispatcher, "order.placed")
    store.deliveries.note_patterns(state.group, ["order.paid"], gone=["order.placed"])
    assert ("order.paid",) == tuple(store.deliveries.patterns(state.group))
    members.note_in_force(state, ("order.paid",))
    assert "order.placed" in state.in_force
    assert "order.placed" in store.deliveries.patterns(state.group)


def test_a_group_that_is_joined_again_begins_as_a_new_one(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    members, state = member(bus, dispatcher, "order.placed")
    store.event_log.leave("order", "billing.charge")
    members.records.clear()
    state.fetch_at = state.pending_at = state.poll_at = NEVER
    state.position, state.is_shared = "5-0", True
    prefetch(state, 6)
    with caplog.at_level(logging.WARNING):
        members.join_again([state])
    assert (UNKNOWN, False, 0) == (state.position, state.is_shared, len(state.prefetched))
    assert [NOW] * 3 == [state.fetch_at, state.pending_at, state.poll_at]
    assert ["billing.charge"] == [one.handler for one in store.event_log.groups("order")]
    assert {"billing.charge"} == members.records.keys()
    logged = messages_of(caplog, membership)
    assert ["billing.charge: its group on order was gone; joined again"] == logged


def test_a_group_that_is_no_longer_served_is_not_joined_again(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher
) -> None:
    members, state = member(bus, dispatcher, "order.placed")
    members.groups.keep(())
    store.event_log.leave("order", "billing.charge")
    members.join_again([state])
    assert [] == store.event_log.groups("order")


@pytest.mark.parametrize(("domains", "pause"), [(0, IDLE), (3000, 3.0)])
def test_with_many_domains_new_ones_are_searched_less_often(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, monkeypatch: pytest.MonkeyPatch,
    domains: int, pause: float,
) -> None:  # fmt: skip
    bus.on("#")(charge)
    now = [1000.0]
    turning: Dispatcher = dispatcher(clock=lambda: now[0])
    members = turning._members
    members.join_domains()
    members._offered = frozenset(f"d{n}" for n in range(domains))
    searched: list[float] = []

    def noted() -> frozenset[str]:
        searched.append(now[0] - 1000)
        return members._offered

    monkeypatch.setattr(store.event_log, "domains", noted)
    for after in (pause - 0.1, pause, pause + 0.1):
        now[0] = 1000 + after
        members.join_domains()
    members.look_for_domains()
    members.join_domains()
    assert searched == pytest.approx([pause, pause + 0.1])
