"""Which entries run in a chunk, and what becomes of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.delivery import Outcome
from celeriac.delivery.repetition import Repetitions
from celeriac.event import EventHeader, build_event, encode
from celeriac.event_log import Entry, EntryKind
from celeriac.executor.chunk_filter import ChunkFilter
from celeriac.handler import Handler

REQUEUED, IGNORED = Outcome.REQUEUED, Outcome.IGNORED


def handler_of(bus: EventBus) -> Handler:
    @bus.on("order.placed", "stock.moved")
    def charge(event: Event[Any]) -> None: ...

    return bus.service.handlers["billing.charge"]


def entry(type: str, *handlers: str, kind: EntryKind = EntryKind.MADE, id: str = "1-0") -> Entry:
    return Entry(id, encode(build_event(type, None, source="s", id=id, handlers=handlers)), kind)


@pytest.mark.parametrize(
    ("type", "kind", "accepted"),
    [
        ("order.placed", EntryKind.MADE, True),
        ("order.placed", EntryKind.FOREIGN, False),
        ("order.paid", EntryKind.MADE, False),
        ("stock.moved", EntryKind.MADE, False),  # the handler wants it, in its own domain
    ],
)
def test_wanted_types_of_the_domain_run(
    bus: EventBus, type: str, kind: EntryKind, accepted: bool
) -> None:
    filter_ = ChunkFilter(handler_of(bus), "order")
    for _ in range(2):  # the second answer is remembered
        assert filter_.accepts(entry(type, kind=kind), type) is accepted


@pytest.mark.parametrize(
    ("type", "handlers", "kind", "others", "outcome"),
    [
        ("order.placed", (), EntryKind.MADE, False, "runs"),
        ("order.placed", ("billing.charge",), EntryKind.MADE, False, "runs"),
        ("order.placed", ("billing.other",), EntryKind.MADE, False, None),
        ("order.placed", ("billing.other",), EntryKind.MADE, True, REQUEUED),
        ("order.paid", (), EntryKind.MADE, False, None),
        ("order.paid", (), EntryKind.MADE, True, REQUEUED),
        ("order.paid", (), EntryKind.FOREIGN, False, None),
        ("order.placed", (), EntryKind.FOREIGN, False, REQUEUED),
        ("stock.moved", (), EntryKind.MADE, False, REQUEUED),
    ],
)
def test_what_becomes_of_an_entry(
    bus: EventBus,
    type: str,
    handlers: tuple[str, ...],
    kind: EntryKind,
    others: bool,
    outcome: Outcome | str | None,
) -> None:
    inspected = ChunkFilter(handler_of(bus), "order", others=others).inspect(
        entry(type, *handlers, kind=kind)
    )
    if isinstance(inspected, EventHeader):
        assert outcome == "runs"
    else:
        assert outcome == (inspected and inspected.outcome)
        assert inspected is None or inspected.attempt == 1


@pytest.mark.parametrize("body", [None, b"", b"no JSON"])
def test_an_entry_without_an_event_becomes_a_delivery_of_its_own(
    bus: EventBus, body: bytes | None
) -> None:
    inspected = ChunkFilter(handler_of(bus), "order").inspect(Entry("1-0", body, EntryKind.MADE))
    assert not isinstance(inspected, EventHeader) and inspected is not None
    assert (inspected.outcome, inspected.attempt) == (REQUEUED, 1)


def test_repetitions_do_not_run(bus: EventBus) -> None:
    """What is certain wins over what is possible."""
    filter_ = ChunkFilter(handler_of(bus), "order")
    entries = [entry("order.placed", id=f"{n}-0") for n in range(1, 5)]
    asked: list[list[str]] = []

    def find(doubtful: Any) -> Repetitions:
        asked.append([one.id for one, _ in doubtful])
        return Repetitions(frozenset({"2-0", "3-0"}), {"1-0": "0-1", "2-0": "0-1"})

    unwanted = entry("order.paid", id="9-0")
    filter_.find_repetitions([*entries, unwanted], find)
    assert asked == [["1-0", "2-0", "3-0", "4-0"]]
    accepted = [filter_.accepts(one, "order.placed") for one in entries]
    assert accepted == [False, False, False, True]
    outcomes = []
    for one in entries[:3]:
        inspected = filter_.inspect(one)
        assert inspected is not None and not isinstance(inspected, EventHeader)
        assert inspected.attempt == 1
        outcomes.append(inspected.outcome)
    assert outcomes == [REQUEUED, IGNORED, IGNORED]
    assert isinstance(filter_.inspect(entries[3]), EventHeader)


def test_without_wanted_events_no_repetition_is_looked_up(bus: EventBus) -> None:
    def find(doubtful: Any) -> Repetitions:
        raise AssertionError

    ChunkFilter(handler_of(bus), "order").find_repetitions([entry("order.paid")], find)


def test_copies_of_signed_events_are_detected_later(bus: EventBus) -> None:
    """Any producer can copy an event in any field, so the kind of an entry proves nothing."""
    filter_ = ChunkFilter(replace(handler_of(bus), signed=True), "order")
    foreign = entry("order.placed", kind=EntryKind.FOREIGN)
    assert filter_.accepts(foreign, "order.placed")
    assert isinstance(filter_.inspect(foreign), EventHeader)
