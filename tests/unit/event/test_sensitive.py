"""Sensitive fields of a type, as paths in the event."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, NewType, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from celeriac import EventBus, InvalidEvent, Sensitive
from celeriac.event import build_event, decode, encode, masked, sensitive_attribute

Secret = Annotated[str, Sensitive]
T = TypeVar("T")
Iban = NewType("Iban", Annotated[str, Sensitive])  # pyright: ignore[reportGeneralTypeIssues]


class Card(msgspec.Struct, rename="camel"):
    number: Secret
    expiry_date: Secret = ""
    brand: str = ""


@dataclass
class Customer:
    name: str
    email: Secret
    cards: list[Card] = field(default_factory=list)


@dataclass
class Buyer:
    email: Secret


class Address(TypedDict):
    city: str
    street: Annotated[str, Sensitive()]


class Order(pydantic.BaseModel):
    number: int
    buyers: list[Buyer]
    addresses: dict[str, list[Buyer]]
    pin: Secret = pydantic.Field(default="", alias="secretPin")
    note: Secret | None = None


class Pair(NamedTuple):
    left: int
    right: Secret


class Row(msgspec.Struct, array_like=True):
    left: int
    right: Secret


class Node(msgspec.Struct):
    secret: Secret
    children: list[Node] = []


class Even(msgspec.Struct):
    secret: Secret
    odd: Odd | None = None


class Odd(msgspec.Struct):
    even: Even | None = None


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Root(pydantic.RootModel[Secret]):
    pass


class Computed(pydantic.BaseModel):
    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def token(self) -> Secret:
        return "t"


Plain = namedtuple("Plain", "a b")


@pytest.mark.parametrize(
    ("annotation", "attribute"),
    [
        (Card, "number,expiryDate"),
        (Customer, "email,cards.*.number,cards.*.expiryDate"),
        (Address, "street"),
        (
            Order,
            "buyers.*.email,addresses.*.*.email,pin,secretPin,note",
        ),
        (Pair, "*"),
        (Row, "*"),
        (Node, "**.secret"),
        (Even, "**.secret"),
        (Odd, "**.even.secret"),
        (Page[Card], "items.*.number,items.*.expiryDate"),
        (Root, "."),
        (Computed, "token"),
        (Secret, "."),
        (Iban, "."),
        (Secret | None, "."),
        (Annotated[str, "other"], None),
        (list[Card] | None, "*.number,*.expiryDate"),
        (Sequence[Secret], "*"),
        (tuple[int, Secret], "*"),
        (Mapping[str, Secret], "*"),
        (Plain, None),
        (dict[str, Any], None),
        (Any, None),
        (int, None),
    ],
)
def test_the_paths_of_what_a_type_marks(annotation: Any, attribute: str | None) -> None:
    assert sensitive_attribute(annotation, dict) == attribute


def test_names_that_would_be_taken_for_something_else_are_encoded() -> None:
    odd = msgspec.defstruct("Odd", [("a", Secret)], rename={"a": "x.y,*%é z"})
    assert sensitive_attribute(Any, odd) == "x%2Ey%2C%2A%25é%20z"


def test_a_field_whose_type_cannot_be_resolved_goes_by_its_text() -> None:
    """Mask too much rather than too little."""
    unknown: dict[str, Any] = {"a": "Annotated[Nowhere, Sensitive]", "b": "Nowhere"}
    kind = type("Unknown", (), {"__annotations__": unknown, "__dataclass_fields__": {}})
    assert sensitive_attribute(Any, kind) == "a"


def test_an_annotation_without_a_hash_is_no_obstacle() -> None:
    assert sensitive_attribute(Annotated[Card, {}], dict) == "number,expiryDate"


def test_emit_lists_fields_marked_in_the_declared_type_or_the_type_of_the_data() -> None:
    bus = EventBus(service="billing")
    bus.declare("order.placed", Card)
    declared = bus.event("order.placed", {"number": "4111"})
    assert declared.sensitive == "number,expiryDate"
    assert bus.event("card.added", Card("4111")).sensitive == "number,expiryDate"
    assert bus.event("card.added", {"number": "4111"}).sensitive is None
    assert decode(encode(declared)).sensitive == "number,expiryDate"


def test_given_paths_are_added_to_marked_ones() -> None:
    bus = EventBus(service="billing")
    given = bus.event("card.added", Card("4111"), sensitive=["brand", "number"])
    assert given.sensitive == "number,expiryDate,brand"
    assert bus.event("card.added", {"a": 1}, sensitive=["a"]).sensitive == "a"
    assert bus.event("card.added", {"a": 1}, sensitive=[]).sensitive is None


def test_a_text_for_the_paths_is_refused_and_so_is_an_extension_of_the_name() -> None:
    bus = EventBus(service="billing")
    with pytest.raises(InvalidEvent, match=r"`sensitive` must be a list of paths, like \['card'\]"):
        bus.event("card.added", {}, sensitive="card")
    with pytest.raises(InvalidEvent, match="`sensitive` is a core attribute"):
        bus.event("card.added", {}, extensions={"sensitive": "card"})
    with pytest.raises(InvalidEvent, match="`sensitive` must not contain control"):
        bus.event("card.added", {}, sensitive=["a\nb"])


class Renamed(pydantic.BaseModel):
    pin: Secret = pydantic.Field(serialization_alias="pinOut")
    token: Secret = pydantic.Field(validation_alias="tokenIn")


def test_a_field_is_marked_under_each_name_that_it_can_have_on_the_wire() -> None:
    """Events are written by the serialization alias, which an alias alone would also set."""
    attribute = sensitive_attribute(Renamed, Renamed) or ""
    assert "pinOut" in attribute.split(",")
    assert masked_as({"pinOut": "1234", "token": "x"}, attribute) == {
        "pinOut": "***",
        "token": "***",
    }


def masked_as(data: Any, attribute: str) -> Any:
    return masked(decode(encode(build_event("a", data, source="s", sensitive=attribute))))


def test_a_pydantic_that_keeps_fields_by_another_name_is_masked_as_well() -> None:
    """pydantic before 2.10 has `model_fields` alone, and `__pydantic_core_schema__` as 2.10 has."""

    class Old:
        __pydantic_core_schema__: ClassVar[dict[str, Any]] = {}
        model_fields: ClassVar[dict[str, Any]] = {
            "token": SimpleNamespace(
                annotation=str, metadata=[Sensitive], alias=None, serialization_alias=None
            )
        }

    assert sensitive_attribute(Old, dict) == "token"
