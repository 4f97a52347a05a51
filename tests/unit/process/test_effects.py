"""What a method may ask for, and what it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import create_engine

from celeriac import Event, EventBus, InvalidData, InvalidEvent
from celeriac.event import (
    HandlingContext,
    build_event,
    decode,
    encode,
    event_key,
    is_encrypted,
)
from celeriac.process import Process, reminded, starts
from celeriac.process.advance import advance
from celeriac.process.identity import derived_id
from celeriac.process.instance import Instance, StepChanges, Timer
from celeriac.security.generate import generate
from tests.unit.process.shop import State

INBOX = create_engine("sqlite://")


def step(bus: EventBus, body: Callable[[Any], object], **stored: Any) -> StepChanges:
    """Return the changes of a method with this body, on a stored instance if it has values."""

    class Tried(Process[State], inbox=INBOX):
        @starts("order.placed")
        def begun(self, event: Event) -> None:
            body(self)

        @reminded("late")
        def late(self) -> None: ...

    assert Tried.definition is not None
    made = build_event("order.placed", None, source="shop", id="e", subject="42")
    event = decode(encode(made))
    handler = "billing.tried"
    instance = Instance(handler, "42", state=b"{}", **stored) if stored else None
    return advance(Tried.definition, handler, "42", instance, event, bus.emitter, 1_000)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda p: p.remind("never", after=1), "no method has @reminded('never'). The timers are"),
        (lambda p: p.forget("never"), "no method has @reminded('never')"),
        (lambda p: p.remind("late"), "give after= or at="),
        (lambda p: p.remind("late", after=1, at=datetime.now(UTC)), "give after= or at="),
        (lambda p: (p.complete(), p.complete()), "complete(): the instance is completed already"),
        (lambda p: (p.complete(), p.abort("x")), "abort(): the instance is completed already"),
        (lambda p: (p.abort("x"), p.remind("late", after=1)), "the instance is aborted"),
        (lambda p: (p.complete(), p.emit("a.b", undo="a.c")), "nothing can undo it"),
    ],
)
def test_a_wrong_call_raises(bus: EventBus, body: Callable[[Any], object], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        step(bus, body)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        lambda p: p.emit("a b"),
        lambda p: p.emit("a.b", delay=-1),
        lambda p: p.emit("a.b", at=datetime(2026, 1, 1)),
        lambda p: p.remind("late", at=datetime(2026, 1, 1)),
        lambda p: p.emit("a.b", undo="a c"),
    ],
)
def test_an_invalid_event_raises_in_the_method(
    bus: EventBus, body: Callable[[Any], object]
) -> None:
    with pytest.raises(InvalidEvent):
        step(bus, body)


def test_a_state_without_a_json_form_raises(bus: EventBus) -> None:
    with pytest.raises(InvalidData):
        step(bus, lambda p: setattr(p, "state", object()))


def test_an_emit_has_a_derived_id_and_the_key_as_its_subject(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.emit("a.b", {"n": 1})
        process.emit("a.b", {"n": 1}, subject="other", id="mine")

    first, again = step(bus, body), step(bus, body)
    ids = [emit.event.id for emit in first.emits]
    assert ids == [emit.event.id for emit in again.emits]
    assert ids[1] == "mine"
    assert [emit.event.subject for emit in first.emits] == ["42", "other"]


def test_an_emitted_event_has_its_data_as_it_was_at_the_call(bus: EventBus) -> None:
    lines = [1, 2]

    def body(process: Any) -> None:
        process.emit("a.b", {"lines": lines})
        lines.clear()

    [emit] = step(bus, body).emits
    assert emit.event.data == {"lines": [1, 2]}


def test_a_timer_that_is_set_and_forgotten_in_one_step_leaves_nothing(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.remind("late", after=5)
        process.forget("late")

    changes = step(bus, body)
    assert (changes.instance.timers, changes.set_timers) == ({}, ())


def test_the_last_of_two_timers_of_a_name_is_set(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.remind("late", after=5)
        process.remind("late", at=datetime.fromtimestamp(9, UTC))

    changes = step(bus, body)
    [row] = changes.set_timers
    assert (row.at_ms, changes.instance.timers["late"].event_id) == (9_000, row.event_id)


def test_abort_emits_undo_events_newest_first_after_the_emits_of_the_step(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.emit("a.one", undo=("undo.one", {"n": 1}))
        process.emit("a.two", undo="undo.two")
        process.abort("no")

    changes = step(bus, body)
    types = [emit.event.type for emit in changes.emits]
    assert types == ["a.one", "a.two", "undo.two", "undo.one"]
    assert (changes.instance.undo, changes.instance.reason) == ([], "no")
    assert changes.step.emitted[-1][0] == "undo.one"


def test_ids_of_derived_events_stay_the_same_in_all_versions(bus: EventBus) -> None:
    """A repetition of an event that older code handled emits the same ids."""

    def body(process: Any) -> None:
        process.emit("a.one", undo="undo.one")
        process.remind("late", after=5)
        process.emit("a.two")

    changes = step(bus, body)
    key = event_key("e", "shop")
    purposes = ["emit 1", "undo 2", "timer 3 late", "emit 4"]
    one, undo, late, two = (derived_id("billing.tried", "42", key, each) for each in purposes)
    assert [one, two] == [emit.event.id for emit in changes.emits]
    assert [undo] == [decode(body.encode()).id for body in changes.instance.undo]
    assert {"late": Timer(late, 6_000)} == changes.instance.timers


def test_emit_returns_the_id_and_keeps_what_delays_it(bus: EventBus) -> None:
    at, ids = datetime(2100, 1, 1, tzinfo=UTC), []

    def body(process: Any) -> None:
        ids.append(process.emit("a.b", delay=5))
        ids.append(process.emit("a.b", at=at, tenant=None))

    first, second = step(bus, body).emits
    assert [first.event.id, second.event.id] == ids
    assert (5, None, None, at) == (first.delay, first.at, second.delay, second.at)


def test_an_undo_event_is_about_what_it_undoes(bus: EventBus) -> None:
    about = {"subject": "7", "partitionkey": "eu", "tenant": "acme", "sensitive": ["data.n"]}
    changes = step(bus, lambda p: p.emit("a.b", {"n": 1}, undo=("a.c", {"n": 1}), **about))
    [undo] = [decode(body.encode()) for body in changes.instance.undo]
    [emit] = [each.event for each in changes.emits]
    for event in (undo, emit):
        assert ("7", "eu", "acme") == (event.subject, event.partitionkey, event.tenant)
    assert ("a.c", emit.sensitive) == (undo.type, undo.sensitive)
    assert undo.sensitive


def test_the_undo_event_of_an_encrypted_event_is_encrypted(tmp_path: Path) -> None:
    """It is stored with the instance, and usually has the same data."""
    _, public = generate("books", encryption=True)
    (tmp_path / "books.json").write_text(json.dumps(public))
    changes = step(
        EventBus(service="billing", trusted_keys=str(tmp_path)),
        lambda p: p.emit("a.b", "secret", undo=("a.c", "secret"), encrypt_for=["books"]),
    )
    [undo] = changes.instance.undo
    assert "secret" not in undo
    assert is_encrypted(decode(undo.encode()))


def test_a_timer_of_an_earlier_step_that_is_set_again_is_not_removed(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.forget("late")
        process.remind("late", after=5)

    changes = step(bus, body, timers={"late": Timer("old", 1)})
    assert ((), ["late"]) == (changes.removed_timers, [row.name for row in changes.set_timers])
    assert () == changes.step.forgotten


@pytest.mark.parametrize("end", ["complete", "abort"])
def test_the_end_removes_timers_and_undo_events_and_begins_to_expire(
    bus: EventBus, end: str
) -> None:
    def body(process: Any) -> None:
        process.emit("a.b", undo="a.c")
        process.complete() if end == "complete" else process.abort("no")

    changes = step(bus, body, timers={"late": Timer("old", 1)})
    assert ({}, [], 1_000 + 30 * 86_400_000) == (
        changes.instance.timers, changes.instance.undo, changes.instance.expires_ms,
    )  # fmt: skip
    assert (("late",), ("late",)) == (changes.removed_timers, changes.step.forgotten)
    assert changes.step.status is changes.instance.status


def test_an_instance_that_continues_does_not_expire(bus: EventBus) -> None:
    assert step(bus, lambda p: None).instance.expires_ms is None


def test_an_undo_event_follows_from_the_event_that_aborts(bus: EventBus) -> None:
    """Its trace is that of the event too, or else the one of what it undoes."""
    traces = [f"00-{digit * 32}-{'1' * 16}-01" for digit in "12"]
    undo = replace(
        build_event("a.c", None, source="shop", id="u", traceparent=traces[0]),
        causationid="earlier",
        correlationid="c",
    )
    event = build_event("order.paid", None, source="shop", id="paid", traceparent=traces[1])

    def undone(bus: EventBus) -> Event[Any]:
        changes = step(bus, lambda p: p.abort("no"), undo=[encode(undo).decode()])
        [emit] = changes.emits
        return emit.event

    alone = undone(bus)
    assert ("earlier", "c", traces[0]) == (
        alone.causationid, alone.correlationid, alone.traceparent,
    )  # fmt: skip
    assert alone.time is not None and undo.time is not None and alone.time > undo.time
    with HandlingContext(event, 1, "billing.tried"):
        caused = undone(bus)
    assert ("paid", "c", traces[1]) == (
        caused.causationid, caused.correlationid, caused.traceparent,
    )  # fmt: skip


def test_without_timers_the_message_lists_none(bus: EventBus) -> None:
    class Plain(Process[State], inbox=INBOX):
        @starts("order.placed")
        def begun(self, event: Event) -> None:
            self.forget("late")

    assert Plain.definition is not None
    event = decode(encode(build_event("order.placed", None, source="shop", subject="42")))
    with pytest.raises(ValueError, match=r"The timers are none$"):
        advance(Plain.definition, "billing.plain", "42", None, event, bus.emitter, 1_000)
    with pytest.raises(ValueError, match=r"The timers are late$"):
        step(bus, lambda p: p.forget("never"))


def test_with_another_key_an_emit_has_no_subject(bus: EventBus) -> None:
    class Keyed(Process[State], inbox=INBOX, key="source"):
        @starts("order.placed")
        def begun(self, event: Event) -> None:
            self.emit("a.b")

    assert Keyed.definition is not None
    event = decode(encode(build_event("order.placed", None, source="shop", subject="42")))
    [emit] = advance(
        Keyed.definition, "billing.keyed", "shop", None, event, bus.emitter, 1_000
    ).emits
    assert emit.event.subject is None
