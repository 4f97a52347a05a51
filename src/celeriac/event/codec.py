"""Events to and from the log: CloudEvents 1.0, structured mode, JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any, Union

import msgspec

from celeriac.errors import EventTooLarge, InvalidData
from celeriac.event.build import BINARY
from celeriac.event.envelope import Event, RawEvent
from celeriac.event.extensions import NO_EXTENSIONS
from celeriac.event.json_form import fault_in, foreign_form, no_form_of, with_text_keys
from celeriac.event.strict_decoder import read
from celeriac.event.validation import validate


class OtherVersion(msgspec.Struct, tag_field="specversion", tag="other"):
    """Never on the wire: a union makes msgspec insist on `specversion`, a lone Struct does not."""


_encoder = msgspec.json.Encoder(enc_hook=foreign_form)
_decoder = msgspec.json.Decoder(Union[Event[msgspec.Raw], OtherVersion])  # noqa: UP007


def encode(event: Event[Any], *, max_bytes: int | None = None, valid: bool = False) -> bytes:
    """The event as one JSON object, without the attributes that are None.

    `valid` says that it is as `build_event` made it, with its attributes checked. Bytes go into
    `data_base64`; `msgspec.Raw` goes in as it is.
    Raises InvalidEvent for a bad attribute, InvalidData for data without a JSON form, and
    EventTooLarge for more than `max_bytes`.
    """
    if not valid:
        validate(event)
    raw = _written(event, _encode)
    if max_bytes is not None and len(raw) > max_bytes:
        raise EventTooLarge(
            f"{event.type} {event.id} is {len(raw)} bytes, over the limit of {max_bytes}; put the "
            "bulk in a store and emit its address, or raise CELERIAC_MAX_EVENT_BYTES"
        )
    return raw


def encode_data(event: Event[Any]) -> bytes:
    """The data alone, as JSON. Raises InvalidData for data without a JSON form."""
    return _written(event, lambda event: _encoder.encode(event.data))


def _written(event: Event[Any], write: Callable[[Event[Any]], bytes]) -> bytes:
    try:
        raw = write(event)
    except Exception:
        # Once more, as json.dumps takes it. Whatever a serializer of a model raises is a fault of
        # the data.
        try:
            raw = write(event.with_data(with_text_keys(event.data)))
        except Exception as error:
            raise _no_json_form(event, error) from error
    if not isinstance(event.data, BINARY) and (fault := fault_in(event.data, raw)):
        raise InvalidData(f"data of {event.type} {event.id} cannot be encoded: {fault}")
    return raw


def _no_json_form(event: Event[Any], error: Exception) -> InvalidData:
    reason: object = no_form_of(event.data)
    if not reason:
        reason = error if isinstance(error, TypeError) else type(error).__name__
    return InvalidData(f"data of {event.type} {event.id} cannot be encoded: {reason}")


def _encode(event: Event[Any]) -> bytes:
    binary = isinstance(event.data, BINARY)
    if event.handlers == () and event.extensions is NO_EXTENSIONS and not binary:
        return _encoder.encode(event)
    members: dict[str, Any] = dict(event.extensions)
    if event.handlers:
        members["handlers"] = " ".join(event.handlers)
    if binary:
        members["data_base64"] = event.data
    plain = msgspec.structs.replace(
        event, handlers=(), extensions=NO_EXTENSIONS, data=None if binary else event.data
    )
    head = _encoder.encode(plain)
    return head[:-1] + b"," + _encoder.encode(members)[1:] if members else head


def decode(raw: bytes) -> RawEvent:
    """The event in `raw`, every attribute checked; its data stays JSON, for `decode_data`.

    Raises InvalidEvent naming the attribute, whatever the bytes are.
    """
    event = decode_unchecked(raw)
    return read(raw) if event is None else check_decoded(event, raw)


def decode_unchecked(raw: bytes) -> RawEvent | None:
    """The event in `raw`, which `check_decoded` must check before anything of it is used but its
    type. None where only `decode` can say whether it is one."""
    try:
        event = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event if type(event) is Event else None


def check_decoded(event: RawEvent, raw: bytes) -> RawEvent:
    """What `decode` returns for `raw`, of which `decode_unchecked` made the event."""
    if event.time and event.time.tzinfo is not UTC:
        return read(raw)
    # JSON with a member twice is at least 8 bytes longer than its shortest form, and `time`
    # ('.5' for '.500000') can save at most 5: no longer than that form means nothing is doubled
    if len(raw) > len(_encoder.encode(event)):
        return read(raw)
    validate(event)
    return event
