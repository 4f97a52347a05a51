from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
from pydantic import BaseModel, Field

from celeriac.errors import InvalidData
from celeriac.event import (
    RawEvent,
    build_event,
    decode,
    decode_data,
    encode,
    validate_for_emit,
)

SECRET = "4111-1111"


class Record(msgspec.Struct):
    amount: int


@dataclass
class Plain:
    amount: int


class Model(BaseModel):
    amount: int


class Typed(TypedDict):
    amount: int


@pydantic.dataclasses.dataclass
class Checked:
    amount: Annotated[int, Field(gt=0)]


class Card(BaseModel):
    kind: Literal["card"]
    number: int


class Cash(BaseModel):
    kind: Literal["cash"]


Payment = Annotated[Card | Cash, Field(discriminator="kind")]


class Holder(msgspec.Struct):
    model: Model


class Colour(enum.Enum):
    RED = "red"


def raw_event(data: Any, **attributes: Any) -> RawEvent:
    event = build_event("order.placed", data, source="s", id="1", **attributes)
    return decode(encode(event))


def read(data: Any, annotation: Any, **attributes: Any) -> Any:
    return decode_data(raw_event(data, **attributes), annotation).data


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Any, {"amount": 5}),
        (object, {"amount": 5}),
        (dict, {"amount": 5}),
        (dict[str, int], {"amount": 5}),
        (Typed, {"amount": 5}),
        (Record, Record(5)),
        (Plain, Plain(5)),
        (Model, Model(amount=5)),
        (Checked, Checked(5)),
        (Model | None, Model(amount=5)),
    ],
)
def test_data_becomes_the_declared_type(annotation: Any, expected: Any) -> None:
    found = read({"amount": 5}, annotation)
    assert found == expected
    assert type(found) is type(expected)


def test_models_may_be_nested_in_other_types() -> None:
    assert read([{"amount": 5}], list[Model]) == [Model(amount=5)]
    assert read({"model": {"amount": 5}}, Holder) == Holder(Model(amount=5))
    assert read({"kind": "cash"}, Payment) == Cash(kind="cash")


def test_the_rest_of_the_event_stays() -> None:
    raw = raw_event({"amount": 5}, subject="o/1")
    assert decode_data(raw, Any).with_data(None) == raw.with_data(None)


def test_the_same_event_can_be_read_as_several_types() -> None:
    raw = raw_event({"amount": 5})
    assert decode_data(raw, Record).data == Record(5)
    assert decode_data(raw, Model).data == Model(amount=5)


@pytest.mark.parametrize("annotation", [Record, Plain, Model, Typed, Checked])
def test_data_that_does_not_fit_is_refused_with_the_field_and_never_the_value(
    annotation: Any,
) -> None:
    with pytest.raises(InvalidData) as caught:
        read({"amount": SECRET}, annotation)
    message = str(caught.value)
    for part in ("order.placed", " 1 ", annotation.__name__, "data.amount"):
        assert part in message
    assert SECRET not in message
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        (Colour, SECRET),
        (Literal["a"], SECRET),
        (Payment, {"kind": SECRET}),
        (Payment, {"kind": "card", "number": SECRET}),
        (Holder, {"model": {"amount": SECRET}}),
        (dict[str, int], {SECRET: "x"}),
        (int, SECRET),
        (list[int], [SECRET]),
    ],
)
def test_no_message_holds_a_value(annotation: Any, data: Any) -> None:
    with pytest.raises(InvalidData) as caught:
        read(data, annotation)
    assert SECRET not in str(caught.value)


def test_msgspec_reads_strictly() -> None:
    with pytest.raises(InvalidData, match=r"data\.amount: Expected `int`, got `str`"):
        read({"amount": "5"}, Record)


def test_unknown_fields_are_ignored() -> None:
    assert read({"amount": 5, "new": 1}, Record) == Record(5)


def test_an_event_without_data_reads_as_null() -> None:
    assert read(None, Any) is None
    assert read(None, None) is None
    assert read(None, type(None)) is None
    assert read(None, Record | None) is None
    assert read(None, Model | None) is None


@pytest.mark.parametrize("annotation", [Record, Model, dict, str, bytes])
def test_an_event_without_data_is_refused_where_data_is_declared(annotation: Any) -> None:
    with pytest.raises(InvalidData, match="it has no data"):
        read(None, annotation)


@pytest.mark.parametrize("annotation", [Any, bytes, bytes | None, object])
def test_binary_data_is_bytes(annotation: Any) -> None:
    assert read(b"\x00\xff", annotation) == b"\x00\xff"


def test_binary_data_is_refused_where_a_model_is_declared() -> None:
    for annotation in (Record, Model):
        with pytest.raises(InvalidData):
            read(b"\x00\xff", annotation)


@pytest.mark.parametrize("annotation", [Record, Plain])
def test_a_json_document_in_base64_is_read_as_json(annotation: Any) -> None:
    content_type = "application/vnd.order+json; charset=utf-8"
    assert read(b'{"amount":5}', annotation, datacontenttype=content_type) == annotation(5)


def test_text_of_another_content_type_is_a_string() -> None:
    assert read("<a/>", Any, datacontenttype="application/xml") == "<a/>"
    assert read("<a/>", str, datacontenttype="application/xml") == "<a/>"
    assert read("abcd", bytes, datacontenttype="text/plain") == b"abcd"


def test_data_that_is_broken_text_is_refused() -> None:
    raw = b'{"specversion":"1.0","id":"1","source":"s","type":"a","data":"\xff"}'
    for annotation in (Any, str, Model | str):
        with pytest.raises(InvalidData):
            decode_data(decode(raw), annotation)


def test_an_event_that_was_never_encoded_can_be_read_too() -> None:
    event = build_event("a", {"amount": 5}, source="s")
    assert decode_data(event, Record).data == Record(5)


@pytest.mark.parametrize("data", [Record(5), Plain(5), Model(amount=5)])
def test_an_instance_of_the_declared_model_is_kept(data: Any) -> None:
    assert validate_for_emit("a", data, type(data)) is data


@pytest.mark.parametrize("annotation", [Record, Plain, Model, Checked])
def test_a_dict_given_to_emit_becomes_the_declared_model(annotation: Any) -> None:
    assert validate_for_emit("a", {"amount": 5}, annotation) == annotation(amount=5)


def test_data_without_a_declared_type_is_taken_as_it_is() -> None:
    data = object()
    assert validate_for_emit("a", data, Any) is data


def test_python_values_are_taken_where_json_would_have_text() -> None:
    class Price(msgspec.Struct):
        amount: Decimal

    assert validate_for_emit("a", {"amount": Decimal("1.5")}, Price) == Price(Decimal("1.5"))


@pytest.mark.parametrize("annotation", [Record, Plain, Model, Typed])
def test_emit_refuses_data_that_does_not_fit_without_showing_it(annotation: Any) -> None:
    with pytest.raises(InvalidData) as caught:
        validate_for_emit("order.placed", {"amount": SECRET}, annotation)
    assert "order.placed does not fit" in str(caught.value)
    assert "data.amount" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_emit_is_as_strict_as_the_handlers_are() -> None:
    with pytest.raises(InvalidData):
        validate_for_emit("a", {"amount": "5"}, Record)
