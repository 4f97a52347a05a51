"""What one event does to an instance: its key, the decision, and the method that runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine

from celeriac import Event, EventBus, InvalidData, Reject, Skip
from celeriac.event import RawEvent, build_event, decode, encode
from celeriac.flow_control import MAX_KEY_BYTES, stored_key
from celeriac.process import Process, Status, on, reminded, starts
from celeriac.process.advance import NotStarted, advance, instance_key
from celeriac.process.definition import ABORT_REQUESTED, REMINDED, ProcessDefinition
from celeriac.process.instance import Instance, StepChanges, Timer
from tests.unit.process.shop import State

HANDLER, KEY = "billing.order_flow", "42"


class OrderFlow(Process[State], inbox=create_engine("sqlite://")):
    @starts("order.placed", "order.imported")
    def placed(self, event: Event) -> None:
        self.state.cents += 1

    @on("order.paid")
    def paid(self, event: Event) -> None:
        self.state.paid = True

    @reminded("late")
    def late(self) -> None:
        self.state.cents += 100

    @reminded("again")
    def again(self) -> None:
        self.remind("again", after=5)


def definition(**changes: Any) -> ProcessDefinition:
    assert OrderFlow.definition is not None
    return replace(OrderFlow.definition, **changes)


def raw(type: str, data: Any = None, **attributes: Any) -> RawEvent:
    given = {"source": "shop", "subject": KEY, "id": "e", **attributes}
    return decode(encode(build_event(type, data, **given)))


def opened(**changes: Any) -> Instance:
    return Instance(HANDLER, KEY, **{"state": b'{"cents":7}', "seq": 3, "started_ms": 5, **changes})


def step(bus: EventBus, event: RawEvent, instance: Instance | None, **options: Any) -> StepChanges:
    return advance(definition(**options), HANDLER, KEY, instance, event, bus.emitter, 1_000)


LONG = "x" * (MAX_KEY_BYTES + 1)


@pytest.mark.parametrize(
    ("event", "path", "key"),
    [
        (raw("order.paid"), "subject", KEY),
        (raw("order.paid", subject=None, partitionkey="p"), "subject", "p"),
        (raw("order.paid", partitionkey="p"), "subject", KEY),
        (raw("order.paid", partitionkey="p"), "partitionkey", "p"),
        (raw("order.paid"), "source", "shop"),
        (raw("order.paid", tenant="acme"), "tenant", "acme"),
        (raw("order.paid", extensions={"region": "eu"}), "region", "eu"),
        (raw("order.paid", {"order": {"id": 7}}), "data.order.id", "7"),
        (build_event("order.paid", {"id": "plain"}, source="shop"), "data.id", "plain"),
        (raw(REMINDED, {"key": LONG, "name": "late"}, subject="no"), "subject", LONG),
        (raw(ABORT_REQUESTED, {"key": "a", "reason": ""}, subject="no"), "subject", "a"),
        (raw(ABORT_REQUESTED, {"key": LONG, "reason": ""}), "subject", stored_key(LONG)),
    ],
)
def test_the_key_of_an_instance(event: RawEvent, path: str, key: str) -> None:
    assert key == instance_key(event, path)


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (raw("order.paid", subject=None), "subject"),
        (raw("order.paid"), "region"),
        (raw("order.paid"), "data.order"),
        (raw("order.paid", {"order": None}), "data.order"),
        (raw(ABORT_REQUESTED, {"key": "", "reason": ""}), "subject"),
    ],
)
def test_an_event_without_a_key_is_rejected(event: RawEvent, path: str) -> None:
    with pytest.raises(Reject, match=f"{event.type} e has no {path}, which names the instance"):
        instance_key(event, path)


def test_data_that_is_no_json_has_no_key() -> None:
    event: Event[Any] = Event(id="e", source="s", type="order.paid", data=msgspec.Raw(b"{"))
    with pytest.raises(InvalidData, match=r"order\.paid e: data is not valid JSON"):
        instance_key(event, "data.order")


@pytest.mark.parametrize("type", ["order.placed", "order.imported"])
def test_a_starting_event_runs_on_a_new_instance(bus: EventBus, type: str) -> None:
    changes = step(bus, raw(type), None)
    assert b'{"cents":1,"paid":false,"picked":false}' == changes.instance.state
    assert (HANDLER, KEY) == (changes.instance.handler, changes.instance.key)
    assert (1, 1_000, 1_000) == (
        changes.instance.seq, changes.instance.started_ms, changes.instance.updated_ms,
    )  # fmt: skip


def test_a_later_event_runs_on_the_stored_instance(bus: EventBus) -> None:
    before = opened()
    changes = step(bus, raw("order.paid"), before)
    assert b'{"cents":7,"paid":true,"picked":false}' == changes.instance.state
    assert (4, 5, 1_000) == (
        changes.instance.seq, changes.instance.started_ms, changes.instance.updated_ms,
    )  # fmt: skip
    assert (4, "e", "order.paid") == (
        changes.step.seq, changes.step.event_id, changes.step.event_type,
    )  # fmt: skip
    assert (3, b'{"cents":7}') == (before.seq, before.state), "the given instance is unchanged"


def test_without_a_start_the_event_waits_for_the_types_that_start(bus: EventBus) -> None:
    with pytest.raises(NotStarted, match=r"with order\.placed, order\.imported\. Emit"):
        step(bus, raw("order.paid"), None)


def test_with_missing_start_every_event_starts(bus: EventBus) -> None:
    changes = step(bus, raw("order.paid"), None, missing="start")
    assert b'"paid":true' in changes.instance.state


@pytest.mark.parametrize(
    ("event", "instance", "status"),
    [
        (raw("order.paid"), opened(status=Status.COMPLETED), "completed"),
        (raw("order.renamed"), opened(), "open"),
        (raw(REMINDED, {"key": KEY, "name": "late"}), None, "not started"),
        (raw(REMINDED, {"key": KEY, "name": "late"}), opened(), "open"),
        (
            raw(REMINDED, {"key": KEY, "name": "late"}),
            opened(timers={"late": Timer("other", 1)}),
            "open",
        ),
        (raw(ABORT_REQUESTED, {"key": KEY, "reason": ""}), None, "not started"),
    ],
    ids=["ended", "older pattern", "no instance", "no timer", "outdated timer", "no abort"],
)
def test_an_event_that_concerns_no_open_instance_is_skipped(
    bus: EventBus, event: RawEvent, instance: Instance | None, status: str
) -> None:
    with pytest.raises(Skip, match=f"{HANDLER} {KEY} is {status}$"):
        step(bus, event, instance)


def test_an_expired_timer_runs_its_method_and_is_no_longer_set(bus: EventBus) -> None:
    timers = {"late": Timer("e", 1), "again": Timer("f", 2)}
    changes = step(bus, raw(REMINDED, {"key": KEY, "name": "late"}), opened(timers=timers))
    assert b'{"cents":107,"paid":false,"picked":false}' == changes.instance.state
    assert ({"again": Timer("f", 2)}, ()) == (changes.instance.timers, changes.removed_timers)
    assert 2 == len(timers)


def test_a_method_can_set_its_expired_timer_again(bus: EventBus) -> None:
    timers = {"again": Timer("e", 1)}
    changes = step(bus, raw(REMINDED, {"key": KEY, "name": "again"}), opened(timers=timers))
    [timer] = changes.set_timers
    assert {"again": Timer(timer.event_id, 6_000)} == changes.instance.timers
    assert "e" != timer.event_id
    assert (("again", 6_000),) == changes.step.reminders


def test_a_timer_of_a_removed_method_is_rejected_with_the_remedy(bus: EventBus) -> None:
    instance = opened(timers={"gone": Timer("e", 1)})
    with pytest.raises(Reject, match=r"no method has @reminded\('gone'\)"):
        step(bus, raw(REMINDED, {"key": KEY, "name": "gone"}), instance)


def test_a_requested_abort_undoes_without_a_method(bus: EventBus) -> None:
    undo = encode(build_event("order.undone", None, source="shop", id="u")).decode()
    event = raw(ABORT_REQUESTED, {"key": KEY, "reason": "fraud"})
    changes = step(bus, event, opened(undo=[undo], timers={"late": Timer("x", 1)}))
    assert (Status.ABORTED, "fraud") == (changes.instance.status, changes.instance.reason)
    assert ["order.undone"] == [each.event.type for each in changes.emits]
    assert (("late",), ("late",)) == (changes.removed_timers, changes.step.forgotten)
    assert b'{"cents":7,"paid":false,"picked":false}' == changes.instance.state


def test_a_type_of_the_process_itself_is_never_one_of_its_methods(bus: EventBus) -> None:
    """A wildcard matches them too."""

    class Wide(Process[State], inbox=create_engine("sqlite://")):
        @starts("#")
        def everything(self, event: Event) -> None:
            self.state.picked = True

    assert Wide.definition is not None
    event = raw(ABORT_REQUESTED, {"key": KEY, "reason": "fraud"})
    changes = advance(Wide.definition, HANDLER, KEY, opened(), event, bus.emitter, 1_000)
    assert (Status.ABORTED, False) == (
        changes.instance.status, b'"picked":true' in changes.instance.state,
    )  # fmt: skip
