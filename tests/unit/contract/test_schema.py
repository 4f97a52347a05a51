"""Schemas of models: what is written is closed and whole, and a digest is of what data may be."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import msgspec
import pydantic
import pytest

from celeriac.contract.example import examples
from celeriac.contract.normal_form import digest, normal_form
from celeriac.contract.schema import read_schema, written_schema
from celeriac.event import build_event, decode, encode, encode_data
from celeriac.event.data_decoder import decoder_for


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(msgspec.Struct, rename="camel"):
    sku_number: str = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1


class Card(msgspec.Struct, tag="card"):
    token: str


class Cash(msgspec.Struct, tag="cash"):
    given: decimal.Decimal


class Everything(msgspec.Struct, kw_only=True):
    number: int
    price: decimal.Decimal
    at: datetime.datetime | None = None
    day: datetime.date = datetime.date(2026, 1, 1)
    took: datetime.timedelta = datetime.timedelta(1)
    id: uuid.UUID | None = None
    colour: Colour = Colour.RED
    kind: Literal["a", "b", 3] = "a"
    lines: list[Line] = []
    pair: tuple[int, str] = (1, "a")
    tags: dict[str, float] = {}
    paid: Card | Cash | None = None
    raw: bytes = b""
    maybe: str | msgspec.UnsetType = msgspec.UNSET
    code: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] = "EUR"
    anything: Any = None


class Node(msgspec.Struct):
    name: str
    next: Optional[Node] = None  # noqa: UP045 - a forward reference


@dataclass
class Parcel:
    number: int
    lines: list[Parcel] = field(default_factory=list)


class PlacedDict(TypedDict):
    number: int
    note: NotRequired[str]


class Model(pydantic.BaseModel):
    number: int
    price: decimal.Decimal = decimal.Decimal(1)
    at: datetime.datetime | None = None
    colour: Colour = Colour.RED
    child: Optional[Model] = None  # noqa: UP045 - a forward reference


class WithModel(msgspec.Struct):
    model: Model


class Sparse(msgspec.Struct, omit_defaults=True):
    number: int
    note: str = ""


MODELS = [Everything, Node, Parcel, PlacedDict, Model, WithModel, Sparse]


@pytest.mark.parametrize("model", MODELS)
def test_each_example_of_what_is_written_is_read_by_the_model(model: Any) -> None:
    found = list(examples(written_schema(model)))
    assert len(found) > 1
    for example in found:
        decoder_for(model).from_json(msgspec.json.encode(example))


@pytest.mark.parametrize("model", MODELS)
def test_what_emit_writes_of_a_model_is_within_its_schema(model: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(written_schema(model))
    for example in examples(written_schema(model)):
        value = decoder_for(model).from_json(msgspec.json.encode(example))
        event = build_event("order.placed", value, source="shop")
        written = msgspec.json.decode(encode_data(event))
        assert [] == [error.message for error in validator.iter_errors(written)]


def test_a_field_with_a_default_is_always_written_and_need_not_be_read() -> None:
    written, read = written_schema(Line), read_schema(Line)
    assert ["count", "skuNumber"] == written["required"]
    assert written["additionalProperties"] is False
    assert "required" not in read
    assert "additionalProperties" not in read
    assert ["number"] == written_schema(Sparse)["required"]
    assert ["number"] == written_schema(PlacedDict)["required"]
    assert "maybe" not in written_schema(Everything)["required"]


def test_anything_is_read_as_anything() -> None:
    assert {} == read_schema(Any) == read_schema(object)


def test_titles_defaults_and_docs_do_not_change_a_digest() -> None:
    class First(msgspec.Struct):
        """One."""

        number: int
        note: str = "a"

    class Second(msgspec.Struct):
        """Two."""

        number: Annotated[int, msgspec.Meta(title="Number", description="of the order")]
        note: str = "b"

    class Third(pydantic.BaseModel):
        note: str = "c"
        number: int

    found = {digest(written_schema(model)) for model in (First, Second, Third)}
    assert 1 == len(found)


def test_references_are_resolved_but_for_recursive_ones() -> None:
    shared = {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {}}}}
    assert {"properties": {}, "type": "object"} == normal_form(shared)
    assert list(written_schema(Node)["$defs"]) == ["Node"]


def test_a_wire_event_of_an_example_is_valid() -> None:
    for example in examples(written_schema(Everything)):
        decode(encode(build_event("order.placed", example, source="shop")))
