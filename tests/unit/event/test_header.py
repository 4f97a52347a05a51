from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import InvalidEvent
from celeriac.event import build_event, decode, encode, read_header

MINIMAL = {"specversion": "1.0", "id": "1", "source": "/s", "type": "order.placed"}


def test_a_peek_shows_the_addressing() -> None:
    found = read_header(
        encode(
            build_event(
                "order.placed",
                {"a": 1},
                source="/s",
                id="1",
                subject="o/1",
                partitionkey="p",
                correlationid="c",
                handlers=["a.b", "c.d"],
                extensions={"region": "t"},
            )
        )
    )
    assert (found.type, found.id, found.subject) == ("order.placed", "1", "o/1")
    assert (found.partitionkey, found.correlationid) == ("p", "c")
    assert found.handlers == ("a.b", "c.d")


def test_an_event_without_handlers_is_for_everyone() -> None:
    assert read_header(json.dumps(MINIMAL).encode()).handlers == ()
    assert read_header(json.dumps({**MINIMAL, "handlers": None}).encode()).handlers == ()


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"specversion": "0.3"}, "`specversion`"),
        ({"specversion": "other"}, "`specversion`"),
        ({"specversion": None}, "`specversion`"),
        ({"id": None}, "`id`"),
        ({"id": ""}, "`id`"),
        ({"source": None}, "`source`"),
        ({"type": "a b"}, "`type`"),
        ({"type": 5}, "`type`"),
        ({"handlers": ""}, "`handlers`"),
        ({"handlers": "x"}, "`handlers`"),
        ({"handlers": ["a.b"]}, "`handlers`"),
    ],
)
def test_what_is_no_cloudevent_is_refused_by_name(members: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidEvent, match=named):
        read_header(json.dumps({**MINIMAL, **members}).encode())


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_with_invalid_event(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        read_header(raw)


@given(
    st.dictionaries(
        st.sampled_from([*MINIMAL, "handlers", "subject", "time", "x", "data"]),
        st.none() | st.text(max_size=3) | st.integers() | st.just("a.b") | st.just([]),
    )
)
def test_a_peek_shows_what_decode_shows(members: dict[str, Any]) -> None:
    raw = json.dumps({**MINIMAL, **members}).encode()
    try:
        event = decode(raw)
    except InvalidEvent:
        return
    found = read_header(raw)
    assert (found.type, found.id, found.subject) == (event.type, event.id, event.subject)
    assert found.handlers == event.handlers


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"[" * 10**5])
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEvent):
        read_header(raw)


def test_an_event_in_the_log_of_another_domain_is_refused() -> None:
    raw = json.dumps(MINIMAL).encode()
    assert read_header(raw, "order").type == "order.placed"
    for other in ("payment", "orde", "order.placed", "Order"):
        with pytest.raises(InvalidEvent, match="does not belong to the domain"):
            read_header(raw, other)


@pytest.mark.parametrize(
    "name", ["source", "subject", "partitionkey", "correlationid", "traceparent"]
)
def test_what_goes_into_tasks_and_lists_is_bounded(name: str) -> None:
    read_header(json.dumps({**MINIMAL, name: "x" * 1024}).encode())
    with pytest.raises(InvalidEvent, match=f"`{name}` is 1,025 characters long"):
        read_header(json.dumps({**MINIMAL, name: "x" * 1025}).encode())
