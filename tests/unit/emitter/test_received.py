"""Events of other systems: what is checked, converted, added, and left as it was sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from celeriac import EventBus, InvalidData, Sensitive
from celeriac.contract import contract, schema_uri, upcast
from celeriac.emitter import received_event
from celeriac.event import RawEvent, decode, encode
from celeriac.event.encrypted import ENCRYPTED
from tests.declared_contracts import no_contracts


def sent(**members: Any) -> RawEvent:
    event = {"specversion": "1.0", "id": "1", "source": "/p", "type": "parcel.sent", **members}
    return decode(json.dumps(event).encode())


def received(bus: EventBus, **members: Any) -> dict[str, Any]:
    """The event as it is appended."""
    written: dict[str, Any] = json.loads(encode(received_event(bus.emitter, sent(**members))))
    return written


@dataclass
class Parcel:
    number: int
    name: Annotated[str, Sensitive] = ""


def test_undeclared_data_keeps_its_bytes(bus: EventBus) -> None:
    event = sent(data={"b": 1.0, "a": [1.50, None]})
    assert received_event(bus.emitter, event) is event


def test_undeclared_data_that_is_not_json_is_refused(bus: EventBus) -> None:
    event = sent().with_data(msgspec.Raw(b'{"a":}'))
    with pytest.raises(InvalidData):
        received_event(bus.emitter, event)  # type: ignore[arg-type]


def test_all_attributes_stay(bus: EventBus) -> None:
    bus.declare("parcel.sent", Parcel)
    members = {
        "subject": "parcel/7", "time": "2026-01-31T12:00:00Z", "region": "acme",
        "handlers": "billing.charge", "correlationid": "c", "causationid": "d",
        "partitionkey": "p",
    }  # fmt: skip
    event = received(bus, data={"number": 7}, **members)
    assert members == {name: event[name] for name in members}


@pytest.mark.parametrize("data", [{"data": {"number": "7"}}, {"data": None}, {}, {"data": []}])
def test_declared_data_is_checked(bus: EventBus, data: dict[str, Any]) -> None:
    bus.declare("parcel.sent", Parcel)
    with pytest.raises(InvalidData):
        received(bus, **data)


def test_bytes_are_checked_as_declared(bus: EventBus) -> None:
    bus.declare("parcel.sent", bytes)
    event = received(bus, data_base64="AAE=", datacontenttype="image/png")
    assert event["data_base64"] == "AAE="


def test_a_json_document_in_bytes_is_checked_as_declared(bus: EventBus) -> None:
    bus.declare("parcel.sent", Parcel)
    event = received(bus, data_base64="eyJudW1iZXIiOjd9", datacontenttype="application/json")
    assert event["data"] == {"number": 7}


def test_sensitive_paths_are_added_and_none_is_removed(bus: EventBus) -> None:
    bus.declare("parcel.sent", Parcel)
    assert received(bus, data={"number": 7}, sensitive="number")["sensitive"] == "name,number"
    assert received(bus, data={"number": 7}, sensitive="name")["sensitive"] == "name"
    assert received(bus, data={"number": 7})["sensitive"] == "name"


def test_encrypted_data_is_left_to_its_readers(bus: EventBus) -> None:
    bus.declare("parcel.sent", Parcel)
    event = sent(data={"ciphertext": "x"}, datacontenttype=ENCRYPTED)
    assert received_event(bus.emitter, event) is event


def test_a_contract_alone_declares_its_type(bus: EventBus) -> None:
    with no_contracts():
        contract("parcel.sent")(Parcel)
        assert received(bus, data={"number": 7, "x": 1})["data"] == {"number": 7}
        with pytest.raises(InvalidData):
            received(bus, data={"number": "7"})


def test_each_version_with_a_contract_is_checked_as_its_own(bus: EventBus) -> None:
    with no_contracts():
        contract("parcel.sent")(Parcel)

        @contract("parcel.sent", version=2)
        class Second(msgspec.Struct):
            cents: int

        old = received(bus, data={"number": 7})
        assert (old["data"], old.get("dataschema")) == ({"number": 7}, None)
        uri = schema_uri("parcel.sent", 2)
        new = received(bus, data={"cents": 7}, dataschema=uri)
        assert (new["data"], new["dataschema"]) == ({"cents": 7}, uri)


def test_an_older_version_without_a_contract_is_converted(bus: EventBus) -> None:
    with no_contracts():

        @contract("parcel.sent", version=2)
        class Second(msgspec.Struct):
            number: int
            name: Annotated[str, Sensitive]

        with pytest.raises(InvalidData, match="no upcaster"):
            received(bus, data={"number": 7})
        upcast("parcel.sent", 1)(lambda data: {**data, "name": "none"})
        event = received(bus, data={"number": 7})
    assert event["data"] == {"number": 7, "name": "none"}
    assert event["dataschema"] == schema_uri("parcel.sent", 2)
    assert event["sensitive"] == "name"


def test_a_newer_version_stays_and_is_masked_like_the_newest(bus: EventBus) -> None:
    with no_contracts():
        contract("parcel.sent")(Parcel)
        uri = schema_uri("parcel.sent", 2)
        event = received(bus, data={"number": "seven", "new": 1}, dataschema=uri)
    assert event["data"] == {"number": "seven", "new": 1}
    assert event["sensitive"] == "name"
