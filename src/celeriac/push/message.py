"""An event as an HTTP request: CloudEvents 1.0, HTTP protocol binding, binary or structured mode.

What `read_message` reads: see `event/http_message.py`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from celeriac.errors import InvalidData
from celeriac.event import Event, RawEvent, decode_data, encode
from celeriac.event.attributes import OPTIONAL, REQUIRED, is_json
from celeriac.event.http_message import STRUCTURED

# The binding requires percent-encoding of space, `"`, `%` and everything that is not printable
# ASCII.
_UNENCODED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
# Of a text each. The content type of the data is that of the request.
_ATTRIBUTES = tuple(name for name in (*REQUIRED, *OPTIONAL) if name != "datacontenttype")


@dataclass(frozen=True, slots=True)
class Message:
    """The body of a request, and the headers that describe it."""

    headers: dict[str, str]
    body: bytes


def message_of(event: RawEvent, *, structured: bool) -> Message:
    """Return the event as a message. Celeriac's addressing and its signature are not sent."""
    sent = replace(event, handlers=(), keyid=None, signature=None)
    if structured:
        return Message({"content-type": STRUCTURED}, encode(sent, valid=True))
    values = {name: getattr(sent, name) for name in _ATTRIBUTES}
    if sent.time is not None:
        values["time"] = msgspec.to_builtins(sent.time)
    headers = {"ce-specversion": "1.0"} | {
        f"ce-{name}": header_text(_as_text(value))
        for name, value in (*values.items(), *sent.extensions.items())
        if value is not None
    }
    body = _body(sent)
    if body or sent.datacontenttype is not None:
        headers["content-type"] = sent.datacontenttype or "application/json"
    return Message(headers, body)


def header_text(value: str) -> str:
    """Return the text as the value of a header, percent-encoded."""
    return quote(value, safe=_UNENCODED)


def trace_headers(event: Event[Any]) -> dict[str, str]:
    """Return the W3C trace context: that of the current span, else that of the event."""
    carrier: dict[str, str] = {}
    # The application imports it if it traces: otherwise there is no span.
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    if not carrier and event.traceparent is not None:
        carrier["traceparent"] = event.traceparent
        state = event.extensions.get("tracestate")
        if isinstance(state, str) and state.isascii():
            carrier["tracestate"] = state
    return carrier


def _as_text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _body(event: RawEvent) -> bytes:
    if event.data is None:
        return b""
    if isinstance(event.data, msgspec.Raw) and not is_json(event.datacontenttype):
        # Text of another format is a JSON string in the event.
        try:
            return bytes(decode_data(event, bytes).data)
        except InvalidData:
            return bytes(event.data)
    return bytes(event.data)
