"""Declaring contracts and upcasters: what is refused, and that the message names the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from celeriac import Event, EventBus, SubscriptionError
from celeriac.contract import VERSIONS, contract, unchanged, upcast


class Placed(msgspec.Struct, frozen=True):
    number: int


class PlacedModel(pydantic.BaseModel):
    number: int


@dataclass
class PlacedData:
    number: int


class PlacedDict(TypedDict):
    number: int


def grow(data: Any) -> Any:
    return data


def shrink(data: Any) -> Any:
    return data


@pytest.mark.parametrize("model", [Placed, PlacedModel, PlacedData, PlacedDict])
def test_each_kind_of_model_can_be_a_contract(model: Any) -> None:
    assert model is contract("order.placed", version=2, owner="orders")(model)
    declared = VERSIONS["order.placed"].of_model(model)
    assert declared is not None
    assert ("orders", 2, "urn:celeriac:order.placed:2") == (
        declared.owner,
        declared.version,
        declared.dataschema,
    )


def test_one_model_is_the_contract_of_several_types() -> None:
    contract("order.paid")(contract("order.cancelled", version=3)(Placed))
    versions = [VERSIONS[name].newest for name in ("order.paid", "order.cancelled")]
    assert [1, 3] == versions


@pytest.mark.parametrize(
    ("type_", "options", "reason"),
    [
        ("order..placed", {}, "has an empty segment"),
        ("order.placed", {"version": 0}, "version is invalid: 0. Use an integer from 1"),
        ("order.placed", {"version": True}, "version=True"),
        ("order.placed", {"version": "2"}, "version='2'"),
        ("order.placed", {"version": 2, "oldest": 3}, "oldest is newer than the version: 3"),
        ("order.placed", {"owner": "a\nb"}, "owner is invalid: 'a\\nb'"),
    ],
)
def test_a_bad_contract_is_refused(type_: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(SubscriptionError) as raised:
        contract(type_, **options)(Placed)
    assert reason in str(raised.value)
    assert {} == VERSIONS


def test_what_data_cannot_be_read_as_is_no_contract() -> None:
    class Custom:
        pass

    with pytest.raises(SubscriptionError, match="data cannot be read as"):
        contract("order.placed")(Custom)
    with pytest.raises(SubscriptionError, match=r"does not decorate a class: .*grow"):
        contract("order.placed")(grow)


def test_two_writers_of_one_version_are_refused_by_name() -> None:
    contract("order.placed", version=2)(Placed)
    with pytest.raises(SubscriptionError) as raised:
        contract("order.placed", version=2)(PlacedData)
    assert f"{__name__}.Placed and by {__name__}.PlacedData. Give one" in str(raised.value)
    contract("order.placed", version=2)(Placed)  # as when its module is loaded again


def test_two_upcasters_of_one_version_are_refused_by_name() -> None:
    upcast("order.placed", 1)(grow)
    with pytest.raises(SubscriptionError) as raised:
        upcast("order.placed", 1)(shrink)
    assert f"{__name__}.grow and by {__name__}.shrink. Remove one" in str(raised.value)


@pytest.mark.parametrize("to", [1, 2])
def test_an_upcaster_that_does_not_lead_to_a_newer_version_is_a_cycle(to: int) -> None:
    with pytest.raises(SubscriptionError, match="makes a cycle"):
        upcast("order.placed", 2, to=to)(grow)


def test_a_reader_of_a_version_that_no_chain_reaches_is_refused_at_import() -> None:
    contract("order.placed", version=3)(Placed)
    upcast("order.placed", 1)(grow)
    bus = EventBus(service="billing")

    def handle(event: Event[Placed]) -> None: ...

    with pytest.raises(SubscriptionError) as raised:
        bus.on("order.placed")(handle)
    assert "billing.handle" in str(raised.value)
    assert "no upcaster leads from version 2 of order.placed to 3" in str(raised.value)
    assert "@upcast('order.placed', 2), or unchanged('order.placed', 2)" in str(raised.value)
    unchanged("order.placed", 2)
    bus.on("order.placed")(handle)


def test_a_chain_begins_with_the_oldest_version() -> None:
    contract("order.placed", version=4, oldest=3)(Placed)
    unchanged("order.placed", 3)
    bus = EventBus(service="billing")

    @bus.on("order.placed")
    def handle(event: Event[Placed]) -> None: ...


def test_an_upcaster_past_the_version_that_is_read_is_refused() -> None:
    contract("order.placed", version=2)(Placed)
    contract("order.placed", version=3)(PlacedData)
    upcast("order.placed", 1, to=3)(grow)
    bus = EventBus(service="billing")
    with pytest.raises(SubscriptionError, match="past 2, which this handler reads"):

        @bus.on("order.placed")
        def handle(event: Event[Placed]) -> None: ...
