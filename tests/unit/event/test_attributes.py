from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac.errors import InvalidEvent
from celeriac.event import attributes as a


@pytest.mark.parametrize("type_", ["a", "order.placed", "Order-2.placed_x.9", "a" * 255])
def test_a_type_is_dotted_segments(type_: str) -> None:
    a.check_type(type_)


@pytest.mark.parametrize(
    ("type_", "fault"),
    [
        ("", "is empty"),
        ("order.", "empty segment"),
        (".order", "empty segment"),
        ("a..b", "empty segment"),
        ("order placed", "may only contain"),
        ("order/placed", "may only contain"),
        ("order.плата", "may only contain"),
        ("order.placed\n", "may only contain"),
        ("order.*", "may only contain"),
        ("a" * 256, "256 characters"),
        (5, "must be a string"),
        (["a"], "must be a string"),
    ],
)
def test_a_bad_type_is_refused_with_what_is_wrong(type_: Any, fault: str) -> None:
    with pytest.raises(InvalidEvent, match=fault) as caught:
        a.check_type(type_)
    assert "`type`" in str(caught.value)


def test_the_refusal_of_a_type_gives_an_example() -> None:
    with pytest.raises(InvalidEvent, match=r"order\.placed"):
        a.check_type("a b")


@pytest.mark.parametrize("text", ["x", "a b", "注文", "\u00a0", "\U0001f600", "\u200b"])
def test_a_text_may_hold_any_printable_or_spacing_character(text: str) -> None:
    a.check_text("subject", text)


@pytest.mark.parametrize("text", ["", "a\nb", "\x00", "\x7f", "\x85", "\ud800", "\ufffe", 1, None])
def test_a_text_is_neither_empty_nor_holds_control_characters(text: Any) -> None:
    with pytest.raises(InvalidEvent, match="`subject`"):
        a.check_text("subject", text)


def test_an_id_has_at_most_255_characters() -> None:
    a.check_id("x" * 255)
    with pytest.raises(InvalidEvent, match="`id` is 256"):
        a.check_id("x" * 256)
    with pytest.raises(InvalidEvent, match="`id` is 256"):
        a.check_id("\u200b" * 256)


GOOD: list[tuple[Callable[[object], None], object]] = [
    (a.check_time, datetime.now(UTC)),
    (a.check_content_type, "application/json"),
    (a.check_content_type, 'application/vnd.x+json; charset="utf-8"; v=1'),
    (a.check_schema_uri, "https://example.com/order?v=1#x"),
    (a.check_schema_uri, "urn:example:order"),
    (a.check_traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    (a.check_handler, "billing.charge_card"),
    (a.check_handler, "billing-eu.v2.处理"),
]
BAD: list[tuple[Callable[[object], None], object, str]] = [
    (a.check_time, datetime(2026, 1, 1), "`time`"),
    (a.check_time, "2026-01-01T00:00:00Z", "`time`"),
    (a.check_content_type, "json", "`datacontenttype`"),
    (a.check_content_type, "application/", "`datacontenttype`"),
    (a.check_content_type, "application/json;", "`datacontenttype`"),
    (a.check_content_type, "a b/c", "`datacontenttype`"),
    (a.check_schema_uri, "order.json", "`dataschema`"),
    (a.check_schema_uri, "/order.json", "`dataschema`"),
    (a.check_schema_uri, "https://a b", "`dataschema`"),
    (a.check_schema_uri, "https:", "`dataschema`"),
    (a.check_traceparent, "", "`traceparent`"),
    (a.check_traceparent, "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "`traceparent`"),
    (a.check_traceparent, "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "`trace"),
    (a.check_traceparent, "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "`trace"),
    (a.check_handler, "charge_card", "`handlers`"),
    (a.check_handler, "billing.", "`handlers`"),
    (a.check_handler, "billing.a b", "`handlers`"),
    (a.check_handler, "billing.<lambda>", "`handlers`"),
]


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_a_good_value_passes(check: Callable[[object], None], value: object) -> None:
    check(value)


@pytest.mark.parametrize(("check", "value", "named"), BAD)
def test_a_bad_value_is_refused_by_name(
    check: Callable[[object], None], value: object, named: str
) -> None:
    with pytest.raises(InvalidEvent, match=named):
        check(value)


@pytest.mark.parametrize("value", ["", "x", True, 0, -(2**31), 2**31 - 1])
def test_an_extension_is_a_string_a_boolean_or_a_small_integer(value: object) -> None:
    a.check_extension("region", value)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.0, None, [], {}, "\x00"])
def test_an_extension_is_nothing_else(value: object) -> None:
    with pytest.raises(InvalidEvent, match="`region`"):
        a.check_extension("region", value)


@pytest.mark.parametrize("name", ["", "Tenant", "ten_ant", "ten-ant", "ä", 1, "id", "data"])
def test_an_extension_has_a_plain_name_of_its_own(name: object) -> None:
    with pytest.raises(InvalidEvent):
        a.check_extension(name, "x")
