"""Reading events of every version: upcasters, what fits, and what is too new."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import pydantic
import pytest

from celeriac import ContractTooNew, Event, EventBus, InvalidData
from celeriac.contract import contract, read_data, schema_uri, unchanged, upcast
from celeriac.contract.schema_uri import version_of
from celeriac.event import build_event, decode, encode
from celeriac.event.annotation import event_type_argument
from celeriac.testing import in_memory


class Placed(msgspec.Struct, frozen=True):
    number: int
    cents: int
    currency: str


class PlacedModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    number: int
    cents: int
    currency: str
    at: datetime | None = None


class OldPlaced(msgspec.Struct, frozen=True):
    number: int
    cents: int


def with_currency(data: Any) -> Any:
    return data | {"currency": "EUR"}


def declare(model: Any = Placed) -> None:
    contract("order.placed", version=2, owner="orders")(model)
    upcast("order.placed", 1)(with_currency)


def wire(data: Any, version: int | None = None, **attributes: Any) -> Event[Any]:
    """The event as a worker gets it."""
    if version is not None:
        attributes["dataschema"] = schema_uri("order.placed", version)
    return decode(encode(build_event("order.placed", data, source="shop", **attributes)))


@pytest.mark.parametrize("version", [None, 1])
@pytest.mark.parametrize("model", [Placed, PlacedModel])
def test_data_of_an_older_version_goes_through_the_upcasters(
    model: Any, version: int | None
) -> None:
    declare(model)
    event = read_data(wire({"number": 1, "cents": 5}, version), model)
    assert "EUR" == event.data.currency
    assert schema_uri("order.placed", 2) == event.dataschema


def test_data_of_the_newest_version_goes_through_none() -> None:
    declare()
    event = read_data(wire({"number": 1, "cents": 5, "currency": "CHF"}, 2), Placed)
    assert "CHF" == event.data.currency


def test_dates_and_strict_models_read_upcast_data_as_json() -> None:
    contract("order.placed", version=2)(PlacedModel)
    upcast("order.placed", 1)(
        lambda data: data | {"currency": "EUR", "at": datetime(2026, 1, 2, tzinfo=UTC)}
    )
    event = read_data(wire({"number": 1, "cents": 5}), PlacedModel)
    assert datetime(2026, 1, 2, tzinfo=UTC) == event.data.at


def test_a_chain_runs_in_order_and_skips_what_is_unchanged() -> None:
    contract("order.placed", version=4)(Placed)
    upcast("order.placed", 3)(lambda data: data | {"currency": data["currency"] * 2})
    unchanged("order.placed", 2)
    upcast("order.placed", 1)(with_currency)
    assert "EUREUR" == read_data(wire({"number": 1, "cents": 5}), Placed).data.currency
    second = wire({"number": 1, "cents": 5, "currency": "A"}, 2)
    assert "AA" == read_data(second, Placed).data.currency


def test_unchanged_data_is_read_as_it_is() -> None:
    contract("order.placed", version=2)(OldPlaced)
    unchanged("order.placed", 1)
    event = read_data(wire({"number": 1, "cents": 5}), OldPlaced)
    assert (5, schema_uri("order.placed", 2)) == (event.data.cents, event.dataschema)


def test_a_handler_without_a_contract_reads_the_newest_version() -> None:
    declare()
    assert "EUR" == read_data(wire({"number": 1, "cents": 5}), Any).data["currency"]
    assert "EUR" == read_data(wire({"number": 1, "cents": 5}), dict[str, Any]).data["currency"]


def test_a_model_of_an_older_version_reads_that_version() -> None:
    contract("order.placed", version=1)(OldPlaced)
    declare()
    event = read_data(wire({"number": 1, "cents": 5}), OldPlaced)
    assert OldPlaced(1, 5) == event.data
    newer = read_data(wire({"number": 1, "cents": 5, "currency": "CHF"}, 2), OldPlaced)
    assert (OldPlaced(1, 5), schema_uri("order.placed", 1)) == (newer.data, newer.dataschema)


@pytest.mark.parametrize("annotation", [Placed | None, Annotated[Placed, "note"]])
def test_a_contract_is_found_within_an_annotation(annotation: Any) -> None:
    declare()
    assert "EUR" == read_data(wire({"number": 1, "cents": 5}), annotation).data.currency


def test_a_newer_version_that_fits_is_read() -> None:
    declare()
    event = read_data(wire({"number": 1, "cents": 5, "currency": "X", "new": 1}, 9), Placed)
    assert Placed(1, 5, "X") == event.data


def test_a_newer_version_that_does_not_fit_is_too_new() -> None:
    declare()
    with pytest.raises(ContractTooNew) as raised:
        read_data(wire({"number": 1, "cents": 19.9, "currency": "X"}, 3), Placed)
    message = str(raised.value)
    assert message.startswith("version 3 of order.placed ")
    assert "this worker reads version 2" in message
    assert "Expected `int`, got `float`" in message
    assert "19.9" not in message


def test_a_model_of_an_older_version_finds_the_newest_too_new() -> None:
    contract("order.placed", version=1)(OldPlaced)
    declare()
    with pytest.raises(ContractTooNew, match="this worker reads version 1"):
        read_data(wire({"number": 1, "amount": 5}, 2), OldPlaced)


def test_a_version_is_too_new_for_code_without_contracts() -> None:
    with pytest.raises(ContractTooNew, match=r"version 2 of .* reads version 1"):
        read_data(wire({"number": 1}, 2), OldPlaced)


def test_data_that_breaks_its_own_version_is_not_too_new() -> None:
    declare()
    with pytest.raises(InvalidData) as raised:
        read_data(wire({"number": "one"}, 2), Placed)
    assert InvalidData is type(raised.value)


def test_a_version_older_than_the_oldest_is_refused() -> None:
    contract("order.placed", version=3, oldest=2)(Placed)
    unchanged("order.placed", 2)
    with pytest.raises(InvalidData, match=r"version 1 of .* is older than 2"):
        read_data(wire({"number": 1, "cents": 5, "currency": "X"}), Placed)


def test_a_gap_that_shows_only_at_run_time_is_named() -> None:
    contract("order.placed", version=2)(Placed)
    with pytest.raises(InvalidData, match=r"no upcaster leads from version 1 of order\.placed"):
        read_data(wire({"number": 1}), Any)


def test_an_upcaster_that_fails_is_named_without_any_value() -> None:
    contract("order.placed", version=2)(Placed)

    @upcast("order.placed", 1)
    def broken(data: Any) -> Any:
        raise ValueError(f"secret {data}")

    with pytest.raises(InvalidData) as raised:
        read_data(wire({"number": 4711}), Placed)
    assert "broken (version 1 to 2) raised ValueError" in str(raised.value)
    assert "4711" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_upcaster_that_returns_no_json_is_named() -> None:
    contract("order.placed", version=2)(Placed)
    upcast("order.placed", 1)(lambda data: {"number": object()})
    with pytest.raises(InvalidData, match="returned data that JSON cannot represent"):
        read_data(wire({"number": 1}), Placed)


def test_binary_json_is_upcast_too() -> None:
    declare()
    body = b'{"number": 1, "cents": 5}'
    event = wire(body, datacontenttype="application/json")
    assert Placed(1, 5, "EUR") == read_data(event, Placed).data
    with pytest.raises(InvalidData, match="not valid JSON"):
        read_data(wire(b"{", datacontenttype="application/json"), Placed)


@pytest.mark.parametrize(
    ("uri", "version"),
    [
        (None, 1),
        ("urn:celeriac:order.placed:7", 7),
        ("urn:celeriac:order.placed:0", 1),
        ("urn:celeriac:order.placed:07", 1),
        ("urn:celeriac:order.placed:99999999999", 1),
        ("urn:celeriac:order.placed:x", 1),
        ("urn:celeriac:order.paid:7", 1),
        ("https://example.com/order.placed:7", 1),
    ],
)
def test_the_version_of_a_dataschema(uri: str | None, version: int) -> None:
    assert version == version_of(uri, "order.placed")


def test_a_handler_gets_what_the_upcasters_made_and_when_sees_it() -> None:
    declare()
    bus = EventBus(service="billing")
    got: list[Any] = []

    @bus.on("order.placed", when=lambda event: event.data.currency == "EUR")
    def charge(event: Event[Placed]) -> None:
        got.append(event.data)

    assert Placed is event_type_argument(Event[Placed])
    with in_memory(bus) as memory:
        bus.emit("order.placed", {"number": 1, "cents": 5}, dataschema="https://old.example/x")
        bus.emit("order.placed", Placed(2, 5, "CHF"))
        memory.run_until_idle()
    assert [Placed(1, 5, "EUR")] == got


def test_what_is_too_new_is_dead_after_one_attempt() -> None:
    declare()
    bus = EventBus(service="billing")

    @bus.on("order.placed")
    def charge(event: Event[Placed]) -> None: ...

    with in_memory(bus) as memory:
        newer = schema_uri("order.placed", 3)
        bus.emit("order.placed", {"number": 1, "amount": 5}, dataschema=newer)
        memory.run_until_idle()
        (dead,) = memory.dead
    assert 1 == dead.attempts
    assert dead.error.startswith("ContractTooNew: version 3 of order.placed")
