from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from celeriac.errors import EventTooLarge, InvalidData, InvalidEvent
from celeriac.event import Event, build_event, decode, decode_data, encode

texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=20)
segments = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
types = st.lists(segments, min_size=1, max_size=4).map(".".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
extensions = st.dictionaries(
    st.from_regex(r"x[a-z0-9]{0,8}", fullmatch=True),
    st.booleans() | st.integers(-(2**31), 2**31 - 1) | texts,
    max_size=3,
)
events = st.builds(
    build_event,
    types,
    values | st.binary(max_size=20),
    source=texts,
    id=st.none() | texts,
    subject=st.none() | texts,
    time=st.datetimes(
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 1, 1),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    ),
    datacontenttype=st.sampled_from([None, "application/json"]),
    dataschema=st.sampled_from([None, "urn:x:y"]),
    partitionkey=st.none() | texts,
    correlationid=st.none() | texts,
    causationid=st.none() | texts,
    handlers=st.lists(st.sampled_from(["a.b", "c-d.e"]), max_size=2),
    extensions=extensions,
)


@given(events)
def test_what_was_encoded_is_decoded_as_it_was(event: Event[Any]) -> None:
    decoded = decode_data(decode(encode(event)), Any)
    assert decoded == event


@given(events)
def test_encoding_again_gives_the_same_bytes(event: Event[Any]) -> None:
    raw = encode(event)
    assert encode(decode(raw)) == raw


@given(events)
def test_the_form_that_other_producers_write_means_the_same(event: Event[Any]) -> None:
    raw = encode(event)
    spaced = json.dumps(json.loads(raw), indent=1, sort_keys=True).encode()
    assert decode_data(decode(spaced), Any) == decode_data(decode(raw), Any)


def test_the_wire_is_structured_mode_json_without_absent_attributes() -> None:
    event = build_event(
        "order.placed",
        {"a": 1},
        source="/orders",
        id="1",
        time=datetime(2026, 1, 31, 12, tzinfo=UTC),
        handlers=["a.b", "c.d"],
        extensions={"region": "t", "beta": True},
    )
    assert json.loads(encode(event)) == {
        "specversion": "1.0",
        "id": "1",
        "source": "/orders",
        "type": "order.placed",
        "time": "2026-01-31T12:00:00Z",
        "data": {"a": 1},
        "handlers": "a.b c.d",
        "region": "t",
        "beta": True,
    }


def test_bytes_travel_as_base64() -> None:
    event = build_event("a", b"\x00\xff", source="s", datacontenttype="image/png")
    assert json.loads(encode(event))["data_base64"] == "AP8="
    assert "data" not in json.loads(encode(event))
    assert decode(encode(event)).data == b"\x00\xff"


@pytest.mark.parametrize("data", [b"", bytearray(b"x"), memoryview(b"x")])
def test_every_kind_of_bytes_is_binary(data: Any) -> None:
    assert decode(encode(build_event("a", data, source="s"))).data == bytes(data)


def test_null_is_data_and_none_is_no_data() -> None:
    assert "data" not in json.loads(encode(build_event("a", None, source="s")))
    null = decode(b'{"specversion":"1.0","id":"1","source":"s","type":"a","data":null}')
    assert isinstance(null.data, msgspec.Raw)
    assert b'"data":null' in encode(null)


class Model(BaseModel):
    order_id: int = Field(alias="orderId")
    price: Decimal


class Record(msgspec.Struct):
    at: datetime


@dataclass
class Tags:
    """The type of the field decodes the JSON form of sets and bytes."""

    names: set[str]
    raw: bytes


@dataclass
class Plain:
    id: UUID


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (Model(orderId=1, price=Decimal("1.50")), {"orderId": 1, "price": "1.50"}),
        ([Model(orderId=1, price=Decimal(1))], [{"orderId": 1, "price": "1"}]),
        (Record(datetime(2026, 1, 1, tzinfo=UTC)), {"at": "2026-01-01T00:00:00Z"}),
        (Plain(UUID(int=1)), {"id": "00000000-0000-0000-0000-000000000001"}),
        ({"price": Decimal("0.10")}, {"price": "0.10"}),
        (Tags({"a"}, b"x"), {"names": ["a"], "raw": "eA=="}),
        (msgspec.Raw(b'{"a":1}'), {"a": 1}),
    ],
)
def test_models_and_plain_types_are_encoded(data: Any, expected: Any) -> None:
    assert json.loads(encode(build_event("a", data, source="s")))["data"] == expected


def cycle() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize("data", [object(), {"a": object()}, {(1, 2): 3}, "\ud800", cycle(), len])
def test_data_without_a_json_form_is_refused(data: Any) -> None:
    with pytest.raises(InvalidData, match="data of a 1 cannot be encoded"):
        encode(build_event("a", data, source="s", id="1"))


def test_the_refusal_names_the_kind_of_the_data() -> None:
    with pytest.raises(InvalidData, match="Thread"):
        import threading

        encode(build_event("a", threading.Thread(), source="s"))


def test_an_invalid_event_of_the_constructor_is_never_sent() -> None:
    with pytest.raises(InvalidEvent, match="`type`"):
        encode(Event(id="1", source="s", type="a b", data=None))


def test_an_event_over_the_limit_is_refused_with_size_limit_setting_and_remedy() -> None:
    event = build_event("a", "x" * 100, source="s")
    size = len(encode(event))
    assert len(encode(event, max_bytes=size)) == size
    with pytest.raises(EventTooLarge) as caught:
        encode(event, max_bytes=size - 1)
    for part in (str(size), str(size - 1), "CELERIAC_MAX_EVENT_BYTES", "emit its address"):
        assert part in str(caught.value)


def test_pydantic_is_not_imported_with_the_package() -> None:
    code = "import sys, celeriac.event; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_with_invalid_event(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode(raw)


@given(st.data(), events)
def test_a_damaged_event_decodes_or_is_refused_with_invalid_event(
    data: st.DataObject, event: Event[Any]
) -> None:
    raw = bytearray(encode(event))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        change: Callable[[], None] = data.draw(
            st.sampled_from(
                [
                    lambda at=at: raw.__setitem__(at, data.draw(st.integers(0, 255))),
                    lambda at=at: raw.__delitem__(slice(at, at + 3)),
                    lambda at=at: raw.__setitem__(slice(at, at), b'"'),
                ]
            )
        )
        change()
        if not raw:
            break
    decodes_or_is_refused(bytes(raw))


json_values = values | st.sampled_from(["", "1.0", "\x00", "\ud800", 1e400, 2**80])


@given(
    events,
    st.dictionaries(
        st.text(max_size=4)
        | st.sampled_from(
            [
                "id",
                "source",
                "type",
                "specversion",
                "time",
                "data_base64",
                "handlers",
                "extensions",
                "subject",
                "datacontenttype",
                "dataschema",
                "traceparent",
                "partitionkey",
            ]
        ),
        json_values,
        min_size=1,
        max_size=3,
    ),
)
def test_an_event_with_other_members_decodes_or_is_refused_with_invalid_event(
    event: Event[Any], members: dict[str, Any]
) -> None:
    decodes_or_is_refused(json.dumps({**json.loads(encode(event)), **members}).encode())


def decodes_or_is_refused(raw: bytes) -> None:
    try:
        event = decode(raw)
    except InvalidEvent:
        return
    assert decode(encode(event)) is not None
