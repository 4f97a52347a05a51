"""The version of emitted data: which `dataschema` it has on the wire."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import msgspec
import pytest

from celeriac import Event, EventBus, InvalidData, InvalidEvent, Sensitive
from celeriac.contract import contract, schema_uri
from celeriac.testing import capture

V1, V2 = schema_uri("order.placed", 1), schema_uri("order.placed", 2)


class Placed(msgspec.Struct, frozen=True):
    number: int


class PlacedWithCard(msgspec.Struct, frozen=True):
    number: int
    card: Annotated[str, Sensitive] = ""


class PlacedDict(TypedDict):
    number: int


def schema_of(bus: EventBus, *data: Any, **attributes: Any) -> str | None:
    with capture() as captured:
        bus.emit("order.placed", *data, **attributes)
    return captured[0].dataschema


@pytest.fixture
def bus() -> EventBus:
    return EventBus(service="orders")


def test_an_object_of_a_contract_is_emitted_under_its_version(bus: EventBus) -> None:
    contract("order.placed", version=2)(Placed)
    assert V2 == schema_of(bus, Placed(1))
    assert V2 == schema_of(bus, Placed(1), subject="order-1")


def test_each_version_that_code_has_is_emitted_under_its_own_number(bus: EventBus) -> None:
    contract("order.placed", version=2)(PlacedWithCard)
    contract("order.placed", version=3)(Placed)
    written = [schema_of(bus, PlacedWithCard(1)), schema_of(bus, Placed(1))]
    assert [V2, "urn:celeriac:order.placed:3"] == written


def test_the_first_version_has_no_number_also_where_a_later_one_is_declared(bus: EventBus) -> None:
    """A contract for events that exist already changes nothing of them."""
    contract("order.placed")(PlacedWithCard)
    contract("order.placed", version=2)(Placed)
    assert schema_of(bus, PlacedWithCard(1)) is None


def test_an_event_of_another_type_has_no_version(bus: EventBus) -> None:
    contract("order.paid", version=2)(Placed)
    assert schema_of(bus, Placed(1)) is None


def test_a_dataschema_that_is_given_stays(bus: EventBus) -> None:
    contract("order.placed", version=2)(Placed)
    assert "https://example.com/x" == schema_of(
        bus, {"number": 1}, dataschema="https://example.com/x"
    )


def test_plain_data_is_not_checked_and_has_no_version_while_there_is_one(bus: EventBus) -> None:
    contract("order.placed")(Placed)
    assert schema_of(bus, {"anything": True}) is None


def test_plain_data_is_refused_once_there_is_a_second_version(bus: EventBus) -> None:
    contract("order.placed", version=2)(Placed)
    with pytest.raises(InvalidEvent) as raised:
        bus.emit("order.placed", {"number": 1})
    assert "data of order.placed has no contract: dict. The newest version is 2" in str(
        raised.value
    )
    assert "bus.declare('order.placed', ...)" in str(raised.value)


@pytest.mark.parametrize("model", [Placed, PlacedDict])
def test_declared_plain_data_is_checked_and_gets_the_version_of_its_model(
    bus: EventBus, model: Any
) -> None:
    contract("order.placed", version=2)(model)
    bus.declare("order.placed", model)
    assert V2 == schema_of(bus, {"number": 1})
    with pytest.raises(InvalidData, match=r"data\.number"):
        bus.emit("order.placed", {"number": "one"})


def test_emit_many_gives_the_same_versions(bus: EventBus) -> None:
    contract("order.placed", version=2)(PlacedWithCard)
    contract("order.paid", version=3)(Placed)
    with capture() as captured:
        bus.emit_many(
            [
                ("order.placed", PlacedWithCard(1)),
                ("order.paid", Placed(1)),
                {"type": "order.paid", "data": Placed(2), "subject": "a"},
                bus.event("order.paid", Placed(3)),
                ("order.other", {}),
            ]
        )
    paid = schema_uri("order.paid", 3)
    assert [V2, paid, paid, paid, None] == [event.dataschema for event in captured]


def test_an_event_that_came_over_the_bus_keeps_what_it_has(bus: EventBus) -> None:
    contract("order.placed", version=2)(Placed)
    event: Event[Any] = Event(id="1", source="s", type="order.placed", dataschema=V1, data={})
    with capture() as captured:
        bus.emit_many([event])
    assert V1 == captured[0].dataschema
