"""The JSON form of data: as Python's json writes it, or refused with the path."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import InvalidData
from celeriac.event import build_event, decode, encode


class Text(str):
    __slots__ = ()


class Number(float):
    __slots__ = ()


class Count(int): ...


class Members(dict[Any, Any]): ...


class Items(list[Any]): ...


class Color(str, Enum):  # noqa: UP042 - what people have
    RED = "red"


class Level(IntEnum):
    HIGH = 3


Point = namedtuple("Point", "x y")


def written(data: Any) -> Any:
    return json.loads(encode(build_event("a", data, source="s")))["data"]


@pytest.mark.parametrize(
    "data",
    [
        Text("x"), Number(1.5), Count(3), Members(a=Items([Text("x")])), Color.RED, Level.HIGH,
        (1, (2,)), Point(1, 2), OrderedDict(a=1), defaultdict(int, a=1),
        {Text("k"): 1}, {Count(1): 1}, {Color.RED: 1, Level.HIGH: 2},
        {True: 1, False: 0}, {None: 1}, {1: 1, 2.5: 2},
        {"deep": [{"a": {None: {True: Text("x")}}}]},
        10**30, "\u0000\U0001f600",
    ],
)  # fmt: skip
def test_data_is_written_as_json_dumps_writes_it(data: Any) -> None:
    assert written({"k": data}) == json.loads(json.dumps({"k": data}))
    assert written(data) == json.loads(json.dumps(data))


@dataclass
class Item:
    price: float


class Struct(msgspec.Struct):
    items: list[Item]


class Model(pydantic.BaseModel):
    price: float


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"items": [{}, {}, {}, {"price": NAN}]}, "data.items[3].price is nan"),
        (INFINITY, "data is inf"),
        ([1.5, None, -INFINITY], "data[2] is -inf"),
        ({"a": Number(NAN)}, "data.a is nan"),
        ({"a": {1}}, "data.a is of the type set"),
        (frozenset(), "data is of the type frozenset"),
        ({"a": (1, [b"x"])}, "data.a[1][0] is of the type bytes"),
        (Members(a=bytearray(b"x")), "data.a is of the type bytearray"),
        ({"a": memoryview(b"x")}, "data.a is of the type memoryview"),
        ({"a": ["x", "half \ud83d"]}, "data.a[1] contains a lone surrogate"),
        ({"a": {"\ud83d": 1}}, "a key of data.a contains a lone surrogate"),
        (Struct([Item(1.0), Item(NAN)]), "data.items[1].price is nan"),
        ({"m": Model(price=NAN)}, "data.m.price is nan"),
    ],
)  # fmt: skip
def test_what_a_reader_would_not_get_as_it_was_is_refused_with_its_place(
    data: Any, fault: str
) -> None:
    with pytest.raises(InvalidData) as caught:
        encode(build_event("order.placed", data, source="s", id="1"))
    assert f"data of order.placed 1 cannot be encoded: {fault}" in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_what_json_has_comes_back_as_it_was(data: Any) -> None:
    raw = decode(encode(build_event("a", data, source="s"))).data
    assert (None if raw is None else json.loads(bytes(raw))) == data
