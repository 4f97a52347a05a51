"""Events as HTTP messages: what `read_message` reads back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace
from opentelemetry.sdk.trace import TracerProvider

from celeriac.event import Extensions, RawEvent, build_event, decode, encode
from celeriac.event.http_message import read_message
from celeriac.push.message import header_text, message_of, trace_headers

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def event(data: Any = None, **attributes: Any) -> RawEvent:
    return decode(encode(build_event("order.placed", data, source="shop", **attributes)))


FULL: dict[str, Any] = {
    "id": 'a b%ü"',
    "subject": "Bestellung/42 – é 😀",
    "time": datetime(2026, 1, 2, 3, 4, 5, 600, UTC),
    "dataschema": "https://example.com/order",
    "partitionkey": "42",
    "correlationid": "c",
    "causationid": "x",
    "traceparent": TRACE,
    "sensitive": "card,customer.email",
    "extensions": {"region": "acme", "comexampletext": 'say "hi" 100%'},
}


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        ({"n": 1, "text": "é"}, None),
        ([1, 2.5, None], "application/json"),
        ("text", None),
        (None, None),
        (b"\x00\xff", "application/octet-stream"),
    ],
    ids=str,
)
def test_a_message_is_read_back_as_the_event(
    structured: bool, data: Any, content_type: str | None
) -> None:
    sent = event(data, datacontenttype=content_type, **FULL)
    message = message_of(sent, structured=structured)
    [read] = read_message(message.headers, message.body)
    if not structured and data is not None:
        # Binary mode always has a content type.
        sent = replace(sent, datacontenttype=sent.datacontenttype or "application/json")
    assert read == sent
    assert all(value.isascii() and value.isprintable() for value in message.headers.values())


def test_integers_and_booleans_are_texts_in_binary_mode() -> None:
    message = message_of(event(extensions={"count": 3, "late": True}), structured=False)
    assert (message.headers["ce-count"], message.headers["ce-late"]) == ("3", "true")


def test_text_that_is_not_json_is_sent_as_it_is() -> None:
    message = message_of(event("<a>é</a>", datacontenttype="application/xml"), structured=False)
    assert message.body == "<a>é</a>".encode()
    assert message.headers["content-type"] == "application/xml"


def test_data_of_another_format_that_is_no_text_is_sent_as_json() -> None:
    message = message_of(event({"n": 1}, datacontenttype="text/plain"), structured=False)
    assert message.body == b'{"n":1}'


def test_the_bytes_of_the_data_are_not_changed() -> None:
    sent = replace(event(), data=Raw(b'{"n": 1.10, "n2": 123456789012345678901234567890}'))
    assert message_of(sent, structured=False).body == bytes(sent.data or b"")


@pytest.mark.parametrize("structured", [False, True])
def test_addressing_and_the_signature_of_celeriac_are_not_sent(structured: bool) -> None:
    sent = replace(event({}), handlers=("shop.index",), keyid="k", signature="s")
    message = message_of(sent, structured=structured)
    text = f"{message.headers} {message.body!r}"
    assert not [name for name in ("handlers", "keyid", "signature") if name in text]


def test_headers_are_percent_encoded_as_in_the_binding() -> None:
    assert header_text('Euro € 😀 "%"') == "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22%25%22"
    assert header_text("a/b?c&d~!*'()[]") == "a/b?c&d~!*'()[]"


def test_the_trace_context_is_that_of_the_event() -> None:
    sent = replace(event(traceparent=TRACE), extensions=Extensions({"tracestate": "a=b"}))
    assert trace_headers(sent) == {"traceparent": TRACE, "tracestate": "a=b"}
    assert trace_headers(event()) == {}


def test_the_trace_context_of_the_current_span_takes_precedence() -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("attempt") as span:
        headers = trace_headers(event(traceparent=TRACE))
    assert f"{span.get_span_context().span_id:016x}" in headers["traceparent"]
