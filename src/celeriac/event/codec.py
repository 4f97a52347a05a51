"""Encoding of events in the event log: CloudEvents 1.0, structured mode, JSON."""

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
from celeriac.unreadable import UNREADABLE


class OtherVersion(msgspec.Struct, tag_field="specversion", tag="other"):
    """Never encoded. msgspec requires `specversion` only for a union of Structs."""


_encoder = msgspec.json.Encoder(enc_hook=foreign_form)
_decoder = msgspec.json.Decoder(Union[Event[msgspec.Raw], OtherVersion])  # noqa: UP007


def encode(event: Event[Any], *, max_bytes: int | None = None, valid: bool = False) -> bytes:
    """Return the event as one JSON object without the attributes that are None.

    Pass `valid` for an event of `build_event`, whose attributes are checked. Bytes become
    `data_base64`; `msgspec.Raw` is copied as it is.

    Raises InvalidEvent for an invalid attribute, InvalidData for data without a JSON form, and
    EventTooLarge for more than `max_bytes`.
    """
    if not valid:
        validate(event)
    raw = _written(event, _encode)
    if max_bytes is not None and len(raw) > max_bytes:
        raise EventTooLarge(
            f"{event.type} {event.id} is {len(raw)} bytes, over the limit of {max_bytes}. Store "
            "the data elsewhere and emit its address, or raise CELERIAC_MAX_EVENT_BYTES"
        )
    return raw


def encode_data(event: Event[Any]) -> bytes:
    """Return the data as JSON. Raises InvalidData for data without a JSON form."""
    return _written(event, lambda event: _encoder.encode(event.data))


def _written(event: Event[Any], write: Callable[[Event[Any]], bytes]) -> bytes:
    try:
        raw = write(event)
    except Exception:
        # Try again with keys as json.dumps writes them. A model's serializer may raise any
        # exception; each is a fault of the data.
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
    """Return the event in `raw`, with checked attributes. Its data stays JSON for `decode_data`.

    Raises InvalidEvent that names the attribute, for any bytes.
    """
    event = decode_unchecked(raw)
    return read(raw) if event is None else check_decoded(event, raw)


def decode_unchecked(raw: bytes) -> RawEvent | None:
    """Return the event in `raw` without checks; None if only `decode` can decode it.

    Until `check_decoded` has checked the event, use nothing except its type.
    """
    try:
        event = _decoder.decode(raw)
    except UNREADABLE:
        return None
    return event if type(event) is Event else None


def check_decoded(event: RawEvent, raw: bytes) -> RawEvent:
    """Return what `decode` returns for `raw`, given the result of `decode_unchecked`."""
    if event.time and event.time.tzinfo is not UTC:
        return read(raw)
    # A duplicate member makes JSON at least 8 bytes longer than its shortest form, and `time`
    # ('.5' for '.500000') can save at most 5. JSON of that length or less has no duplicate.
    if len(raw) > len(_encoder.encode(event)):
        return read(raw)
    validate(event)
    return event
