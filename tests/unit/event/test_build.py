from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest

from celeriac.errors import InvalidEvent
from celeriac.event import HandlingContext, build_event, decode, encode, id_time_ms, plain_event


class Order(StrEnum):
    PLACED = "order.placed"


def test_a_new_event_gets_an_id_and_the_time() -> None:
    event = build_event("order.placed", None, source="orders")
    assert id_time_ms(event.id) is not None
    assert event.time is not None
    assert abs(datetime.now(UTC) - event.time) < timedelta(seconds=5)
    assert event.handlers == ()
    assert event.extensions == {}


def test_what_is_given_is_kept() -> None:
    event = build_event(
        "order.placed",
        {"a": 1},
        source="orders",
        id="x",
        subject="order/1",
        datacontenttype="application/json",
        dataschema="urn:x:y",
        partitionkey="p",
        correlationid="c",
        causationid="d",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        handlers=["billing.charge"],
        extensions={"region": "t"},
    )
    assert (event.id, event.subject, event.partitionkey) == ("x", "order/1", "p")
    assert (event.correlationid, event.causationid) == ("c", "d")
    assert event.handlers == ("billing.charge",)
    assert event.extensions == {"region": "t"}


def test_the_time_is_turned_into_utc() -> None:
    local = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    time = build_event("a", None, source="s", time=local).time
    assert time == local
    assert time is not None
    assert time.tzinfo is UTC


def test_an_event_emitted_in_a_handler_follows_from_its_event() -> None:
    with HandlingContext(build_event("a", None, source="s", id="1")):
        event = build_event("b", None, source="s")
    assert (event.correlationid, event.causationid) == ("1", "1")


def test_a_str_enum_goes_out_as_its_value() -> None:
    event = build_event(Order.PLACED, None, source="s", handlers=(Order.PLACED,))
    assert type(event.type) is str
    assert decode(encode(event)).type == "order.placed"


def test_bytes_are_an_octet_stream_by_default() -> None:
    assert build_event("a", b"x", source="s").datacontenttype == "application/octet-stream"
    named = build_event("a", b"x", source="s", datacontenttype="image/png")
    assert named.datacontenttype == "image/png"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"type": "order placed"}, "`type`"),
        ({"type": None}, "`type`"),
        ({"type": ["a"]}, "`type`"),
        ({"source": ""}, "`source`"),
        ({"id": ""}, "`id`"),
        ({"id": 5}, "`id`"),
        ({"subject": ""}, "`subject`"),
        ({"time": datetime(2026, 1, 1)}, "`time`"),
        ({"time": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}, "`time`"),
        ({"time": "now"}, "`time`"),
        ({"correlationid": ""}, "`correlationid`"),
        ({"causationid": "\n"}, "`causationid`"),
        ({"partitionkey": ""}, "`partitionkey`"),
        ({"dataschema": "x"}, "`dataschema`"),
        ({"traceparent": "x"}, "`traceparent`"),
        ({"datacontenttype": "x"}, "`datacontenttype`"),
        ({"handlers": "billing.charge"}, "`handlers`"),
        ({"handlers": ["charge"]}, "`handlers`"),
        ({"handlers": [5]}, "`handlers`"),
        ({"extensions": {"Tenant": 1}}, "'Tenant'"),
        ({"extensions": {"id": "1"}}, "`id`"),
        ({"extensions": {"region": None}}, "`region`"),
    ],
)
def test_a_bad_attribute_is_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {"type": "a", "data": None, "source": "s", **arguments}
    with (
        HandlingContext(build_event("a", None, source="s")),
        pytest.raises(InvalidEvent, match=named),
    ):
        build_event(**given)


# -- plain_event


@pytest.mark.parametrize("kind", ["order.placed", Order.PLACED])
@pytest.mark.parametrize("data", [None, {"a": 1}, b"bytes"])
def test_a_plain_event_is_what_build_event_makes(kind: str, data: object) -> None:
    plain = plain_event(kind, data, source="orders", id="x")
    built = build_event(kind, data, source="orders", id="x", time=plain.time)
    assert encode(plain, valid=True) == encode(built)


def test_a_plain_event_follows_from_the_one_being_handled() -> None:
    cause = build_event("order.placed", None, source="orders")
    with HandlingContext(cause):
        assert plain_event("payment.captured", None, source="billing").causationid == cause.id


@pytest.mark.parametrize(("kind", "source"), [("order..placed", "orders"), ("a.b", ""), (1, "o")])
def test_a_plain_event_is_checked_too(kind: Any, source: str) -> None:
    with pytest.raises(InvalidEvent):
        plain_event(kind, None, source=source)
