from __future__ import annotations

import asyncio

import pytest

from celeriac.event import (
    MAX_EMITTED,
    Causality,
    EmittedEvent,
    EmittedEvents,
    HandlingContext,
    build_event,
    current_attempt,
    current_event,
    current_handling,
    event_key,
    inherit,
    record_emitted,
)

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
first = build_event("a", None, source="s", id="1", traceparent=TRACE)
second = build_event("b", None, source="s", id="2", correlationid="1", causationid="1")


def test_outside_a_handler_nothing_is_inherited() -> None:
    assert current_event() is None
    assert inherit() == Causality(None, None, None)
    assert inherit(correlationid="x") == Causality("x", None, None)


def test_the_event_being_handled_is_the_cause() -> None:
    with HandlingContext(second):
        assert current_event() is second
        assert inherit() == Causality("1", "2", None)
    assert current_event() is None


def test_the_id_of_the_first_event_becomes_the_correlation_id() -> None:
    with HandlingContext(first):
        assert inherit() == Causality("1", "1", TRACE)


def test_what_is_given_wins() -> None:
    with HandlingContext(second):
        given = inherit(correlationid="c", causationid="d", traceparent=TRACE)
    assert given == Causality("c", "d", TRACE)


def test_handling_nests_and_ends_with_an_error_too() -> None:
    with HandlingContext(first):
        with pytest.raises(ZeroDivisionError), HandlingContext(second):
            raise ZeroDivisionError
        assert current_event() is first
    assert current_event() is None


def test_the_attempt_is_known_within_and_zero_outside() -> None:
    assert current_attempt() == 0
    with HandlingContext(first, 3):
        assert current_attempt() == 3
        with HandlingContext(second):
            assert current_attempt() == 1
        assert current_attempt() == 3
    assert current_attempt() == 0


def test_the_handler_is_known_within() -> None:
    assert current_handling() is None
    with HandlingContext(first, 2, "billing.charge"):
        under_way = current_handling()
        assert under_way is not None
        assert ("billing.charge", 2, first) == (
            under_way.handler,
            under_way.attempt,
            under_way.event,
        )


def test_what_is_emitted_within_is_noted_and_what_is_emitted_outside_is_not() -> None:
    record_emitted([second])
    with HandlingContext(first) as under_way:
        record_emitted([second])
        record_emitted([first, second])
    record_emitted([first])
    two, one = (EmittedEvent(e.type, event_key(e.id, e.source)) for e in (second, first))
    assert EmittedEvents((two, one, two)) == under_way.emitted_events
    assert ["2", "1", "2"] == [effect.id for effect in under_way.emitted_events.named]


def test_only_the_first_effects_are_named_and_all_are_counted() -> None:
    with HandlingContext(first) as under_way:
        record_emitted([second] * (MAX_EMITTED + 5))
    assert MAX_EMITTED + 5 == under_way.emitted_count
    assert (MAX_EMITTED, 5) == (
        len(under_way.emitted_events.named),
        under_way.emitted_events.unnamed,
    )


def test_concurrent_tasks_have_causes_of_their_own() -> None:
    async def cause(event_id: str) -> str | None:
        with HandlingContext(build_event("a", None, source="s", id=event_id)):
            await asyncio.sleep(0)
            return inherit().causationid

    async def both() -> list[str | None]:
        return list(await asyncio.gather(cause("1"), cause("2")))

    assert asyncio.run(both()) == ["1", "2"]
