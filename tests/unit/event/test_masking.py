"""Masking of events for display."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.event import (
    Event,
    RawEvent,
    build_event,
    decode,
    encode,
    masked,
    masked_envelope,
    sensitive_values,
    without,
)

DATA = {"card": "4111", "customer": {"email": "a@b.c", "name": "A"}, "items": [{"iban": 12345}]}


def event(data: Any = DATA, sensitive: str | None = None, **attributes: Any) -> RawEvent:
    return decode(encode(build_event("a", data, source="s", sensitive=sensitive, **attributes)))


@pytest.mark.parametrize(
    ("sensitive", "shown"),
    [
        (None, DATA),
        ("card", {**DATA, "card": "***"}),
        ("customer.email", {**DATA, "customer": {"email": "***", "name": "A"}}),
        ("customer", {**DATA, "customer": "***"}),
        ("customer.*", {**DATA, "customer": {"email": "***", "name": "***"}}),
        ("items.*.iban", {**DATA, "items": [{"iban": "***"}]}),
        ("items.*", {**DATA, "items": ["***"]}),
        ("**.iban,card", {**DATA, "card": "***", "items": [{"iban": "***"}]}),
        ("**", "***"),
        (".", "***"),
        ("*", {"card": "***", "customer": "***", "items": "***"}),
        ("nothing,items.iban,card.x,,", DATA),
    ],
)
def test_what_the_paths_reach_is_masked_and_nothing_else(sensitive: str, shown: Any) -> None:
    assert masked(event(sensitive=sensitive)) == shown


def test_names_are_masked_wherever_they_are_in_upper_or_lower_case() -> None:
    data = {"Card": 1, "deep": [{"CARD": [1], "more": {"card": None}}], "cards": 2}
    assert masked(event(data), {"card"}) == {
        "Card": "***",
        "deep": [{"CARD": "***", "more": {"card": "***"}}],
        "cards": 2,
    }


def test_encoded_names_are_found() -> None:
    assert masked(event({"x.y": 1, "*": 2, "z": 3}, "x%2Ey,%2A")) == {
        "x.y": "***",
        "*": "***",
        "z": 3,
    }


def test_what_cannot_be_looked_into_is_shown_as_a_size() -> None:
    assert masked(event(b"\x00\xff")) == "(2 bytes)"
    text = event("<card>4111</card>", datacontenttype="text/xml")
    assert masked(text) == "<card>4111</card>"
    assert masked(text, {"card"}) == "(19 bytes)"
    json = event(b'{"card":1}', "card", datacontenttype="application/json")
    assert masked(json) == {"card": "***"}
    assert masked(event(b'{"card"', "card", datacontenttype="application/json")) == "(7 bytes)"
    assert masked(event(None, "card")) is None


def test_an_attribute_of_very_many_paths_masks_all() -> None:
    """No person writes such an attribute, and a search for each value would take long."""
    assert masked(event(sensitive=",".join(f"p{n}" for n in range(1001)))) == "***"


def test_many_wildcards_take_no_time() -> None:
    deep: Any = "secret"
    for _ in range(200):
        deep = {"a": deep}
    assert masked(event(deep, ".".join(["**"] * 100) + ".nothing")) == deep


def test_an_envelope_is_shown_with_all_its_attributes() -> None:
    raw = encode(
        build_event(
            "a", {"card": 1}, source="s", id="1", sensitive="card",
            handlers=["b.c"], extensions={"region": "x"},
        )
    )  # fmt: skip
    shown = masked_envelope(raw)
    assert shown.pop("time")
    assert shown == {
        "specversion": "1.0", "id": "1", "source": "s", "type": "a", "sensitive": "card",
        "handlers": "b.c", "region": "x", "data": {"card": "***"},
    }  # fmt: skip


def test_what_is_no_event_is_shown_only_where_nothing_can_be_sensitive() -> None:
    assert masked_envelope(b"no event \xff") == "no event \ufffd"
    assert masked_envelope(b"no event", {"card"}) == "(8 bytes)"
    assert masked_envelope(b'{"sensitive":"card","data":') == "(27 bytes)"


def test_the_values_are_texts_and_numbers_that_are_long_enough() -> None:
    data = {"a": ["4111 1111", "x", True, None, {"b": 12345, "c": 123, "d": -1.234}], "e": "seen"}
    assert sensitive_values(event(data, "a")) == ["4111 1111", "-1.234", "12345"]
    assert sensitive_values(event(data)) == []
    assert sensitive_values(event(data), {"E"}) == ["seen"]
    assert sensitive_values(event(b"secret", ".")) == []


def test_values_are_taken_out_of_a_text_however_they_are_written() -> None:
    text = "4111 1111 and 12345, not 123456 or 912345"
    assert without(text, ["4111 1111", "12345"]) == "*** and ***, not 123456 or 912345"
    assert without(repr("a\nb"), ["a\nb"]) == "'***'"
    assert without('{"x":"a\\"b"}', ['a"b']) == '{"x":"***"}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values, st.text(max_size=40))
def test_masking_never_fails_and_with_no_paths_changes_nothing(data: Any, paths: str) -> None:
    raw = msgspec.Raw(msgspec.json.encode(data))
    one: RawEvent = Event(id="1", source="s", type="a", data=raw, sensitive=paths)
    masked(one, {"a"})
    sensitive_values(one, {"a"})
    assert masked(Event(id="1", source="s", type="a", data=raw)) == data


def test_a_text_is_masked_whole_where_very_many_values_may_be_in_it() -> None:
    assert without("one of them", [f"value-{n}" for n in range(2001)]) == "***"
    assert without("", [f"value-{n}" for n in range(2001)]) == ""
