"""Signed events in chunks: copies are recognised in any field, and no producer that cannot
sign keeps a true event from a handler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.dead_letter import redrive_dead_letter
from celeriac.delivery import Group
from celeriac.dispatcher.group_state import is_plain
from celeriac.event import event_key, read_header
from celeriac.event.signature import redriven_for
from celeriac.event_log import EntryKind, entry_key
from celeriac.event_log.registered import Registered
from celeriac.security.generate import generate
from celeriac.testing.store import Store
from tests.unit.delivery_task import run_task
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent
from tests.unit.dispatcher.test_fetching import settle

GROUP = Group("order", "billing.charge")
MADE, GIVEN, FOREIGN, REDRIVEN = (
    EntryKind.MADE, EntryKind.GIVEN, EntryKind.FOREIGN, EntryKind.REDRIVEN,
)  # fmt: skip
PRIVATE, PUBLIC = (json.dumps(key) for key in generate("orders-1", sources=["orders"]))


@pytest.fixture
def orders() -> EventBus:
    """A service that signs."""
    return EventBus(service="orders", signing_key=PRIVATE)


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="billing", trusted_keys=PUBLIC, retention_count=0)


@pytest.fixture
def ran(bus: EventBus, store: Store) -> list[str]:
    """Ids of the events that the handler ran. It fails for those whose id begins with `bad`."""
    found: list[str] = []

    @bus.on("order.placed", signed=True, retries=0)
    def charge(event: Event[Any]) -> None:
        found.append(event.id)
        if event.id.startswith("bad"):
            raise ValueError("bad")

    store.deliveries.handler_store(GROUP).stats["mean_us"] = 100
    return found


Drain = Callable[[], int]


@pytest.fixture
def drain(bus: EventBus, ran: list[str], dispatcher: MakeDispatcher, sent: Sent) -> Drain:
    """Runs all there is; returns how many of the delivery tasks were chunks."""
    return drain_with(bus, dispatcher, sent)


def drain_with(bus: EventBus, dispatcher: MakeDispatcher, sent: Sent) -> Drain:
    turning = dispatcher()

    def run() -> int:
        chunks = 0
        settle(turning)
        while sent:
            chunks += bool(sent[0].id)
            run_task(bus.service, sent.pop(0))
            settle(turning)
        return chunks

    return run


def signed(orders: EventBus, count: int = 1, **attributes: Any) -> list[bytes]:
    events = [orders.event("order.placed", {"n": n}, **attributes) for n in range(count)]
    raws = [orders.emitter.encode_unsigned(event) for event in events]
    signer = orders.emitter._signer
    assert signer is not None
    return signer.sign_many(raws)


def test_signed_deliveries_run_in_chunks(bus: EventBus, ran: list[str], store: Store) -> None:
    assert is_plain(bus.service.handlers["billing.charge"])


@pytest.mark.parametrize("original", [MADE, GIVEN, FOREIGN])
@pytest.mark.parametrize("copy", [*EntryKind])
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
@pytest.mark.parametrize("count", [1, 5])
def test_a_copy_in_any_field_does_not_run(
    orders: EventBus,
    store: Store,
    ran: list[str],
    drain: Drain,
    original: EntryKind,
    copy: EntryKind,
    together: bool,
    count: int,
) -> None:
    bodies = signed(orders, count)
    for body in bodies:
        store.event_log._append("order", body, original)
    if not together:
        assert drain()
    for _ in range(2):
        for body in bodies:
            store.event_log._append("order", body, copy)
        drain()
    assert count == len(ran) == len(set(ran))
    assert count == store.deliveries.stats(GROUP)["processed"]
    assert not store.deliveries.dead("order")
    [state] = store.event_log.groups("order")
    assert (0, 0) == (state.pending, state.lag)


def test_a_copy_of_a_dead_letter_does_not_run_and_redriven_it_does(
    orders: EventBus, store: Store, ran: list[str], drain: Drain
) -> None:
    [body] = signed(orders, id="bad-1")
    store.event_log._append("order", body, MADE)
    drain()
    store.event_log._append("order", body, MADE)
    drain()
    [letter] = store.deliveries.dead("order")
    store.event_log.trim("order", exact=True)
    assert 1 == len(ran)
    assert redrive_dead_letter(store.backend, store.registry.handlers(), "order", letter.id)
    drain()
    assert 2 == len(ran)
    store.event_log._append("order", body, REDRIVEN)
    drain()
    assert 2 == len(ran)


@pytest.mark.parametrize("forged_kind", [*EntryKind])
@pytest.mark.parametrize("true_kind", [MADE, GIVEN, FOREIGN])
@pytest.mark.parametrize("together", [True, False], ids=["together", "before"])
def test_a_forged_event_takes_no_id_from_the_true_one(
    orders: EventBus,
    bus: EventBus,
    store: Store,
    ran: list[str],
    drain: Drain,
    forged_kind: EntryKind,
    true_kind: EntryKind,
    together: bool,
) -> None:
    [true] = signed(orders, id="order-42")
    forged = bus.emitter.encode(bus.event("order.placed", id="order-42", source="orders"))
    store.event_log._append("order", forged, forged_kind)
    if not together:
        drain()
    store.event_log._append("order", true, true_kind)
    drain()
    assert ["order-42"] == ran
    [letter] = store.deliveries.dead("order")
    assert letter.error.startswith("UntrustedEvent")


@pytest.mark.parametrize("kind", [MADE, GIVEN, FOREIGN])
@pytest.mark.parametrize("entry", ["1-0", "behind"])
def test_ids_that_others_register_keep_no_signed_event_from_the_handler(
    orders: EventBus, store: Store, ran: list[str], drain: Drain, kind: EntryKind, entry: str
) -> None:
    """Any producer of the domain can write the registry, and that entries are ambiguous."""
    [body] = signed(orders)
    now_ms = store.clock.now_ms()
    true = store.event_log._append("order", body, kind)
    ms, number = entry_key(true)
    ids = store.event_log.store["order"].ids
    other = f"{ms}-{number + 7}" if entry == "behind" else entry
    ids.put(read_header(body).key, Registered(other), now_ms)
    ids.note_ambiguous(now_ms - 1000, now_ms + 1000)
    drain()
    assert [read_header(body).id] == ran


@pytest.mark.parametrize("kind", [MADE, GIVEN, FOREIGN])
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
def test_an_event_whose_data_does_not_fit_takes_no_id_from_a_later_one(
    bus: EventBus,
    orders: EventBus,
    store: Store,
    dispatcher: MakeDispatcher,
    sent: Sent,
    kind: EntryKind,
    together: bool,
) -> None:
    """Both are signed; the first one was refused before the handler ran."""
    numbers: list[int] = []

    @bus.on("order.counted", signed=True)
    def count(event: Event[dict[str, int]]) -> None:
        numbers.append(event.data["n"])

    store.deliveries.handler_store(Group("order", "billing.count")).stats["mean_us"] = 100
    drain = drain_with(bus, dispatcher, sent)
    for data in ("no number", 7, 7):
        event = orders.event("order.counted", {"n": data}, id="order-42")
        store.event_log._append("order", orders.emitter.encode(event), kind)
        if not together:
            drain()
    for _ in range(3):
        drain()
        store.clock.advance(60_000)
    assert [7] == numbers
    [letter] = store.deliveries.dead("order")
    assert letter.error.startswith("InvalidData")


@pytest.mark.parametrize("id", [None, "order-42"])
@pytest.mark.parametrize("is_async", [True, False])
def test_ids_that_others_register_keep_no_delayed_event_from_the_log(
    orders: EventBus, store: Store, ran: list[str], drain: Drain, id: str | None, is_async: bool
) -> None:
    """Any reader of the domain can read delayed events, and register their ids."""
    if is_async:
        event = asyncio.run(orders.aemit("order.placed", {"n": 1}, id=id, delay=5))
    else:
        event = orders.emit("order.placed", {"n": 1}, id=id, delay=5)
    now_ms = store.clock.now_ms()
    store.event_log.store["order"].ids.put(event_key(event, "orders"), Registered("1-0"), now_ms)
    store.clock.advance(6000)
    store.event_log.enqueue_due("order")
    drain()
    assert [event] == ran


def test_a_delayed_event_that_is_emitted_twice_runs_once(
    orders: EventBus, store: Store, ran: list[str], drain: Drain
) -> None:
    for delay in (None, 5, 7):
        orders.emit("order.placed", {"n": 1}, id="order-42", delay=delay)
    drain()
    store.clock.advance(10_000)
    store.event_log.enqueue_due("order")
    drain()
    assert ["order-42"] == ran


def test_what_emit_tries_again_runs_once(
    orders: EventBus, store: Store, ran: list[str], drain: Drain
) -> None:
    """The first try may arrive after its own retry."""
    [body] = signed(orders)
    store.event_log.append("order", body, MADE, since_ms=store.clock.now_ms())
    drain()
    store.event_log._append("order", body, MADE)
    drain()
    assert 1 == len(ran)


def test_a_copy_that_is_fetched_first_runs_instead(
    orders: EventBus, bus: EventBus, store: Store, ran: list[str], drain: Drain
) -> None:
    """It is the same event, byte for byte; what counts is that one of them runs."""
    [body] = signed(orders)
    key = store.event_log._append("order", body, MADE)
    copy = store.event_log._append("order", body, MADE)
    assert {} == store.deliveries.note_verified(GROUP, [(copy, read_header(body).key)])
    drain()
    assert key != copy
    assert 1 == len(ran)


def test_a_signed_event_for_another_handler_is_no_copy(
    orders: EventBus, bus: EventBus, store: Store, ran: list[str], drain: Drain
) -> None:
    """A member after the signature reduces its handlers: it then claims nothing here."""
    [body] = signed(orders)
    store.event_log._append("order", redriven_for(body, "mail.send"), MADE)
    store.event_log._append("order", body, MADE)
    drain()
    assert 1 == len(ran)
