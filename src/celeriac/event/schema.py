"""Typed data: the same validation for handlers and for emit."""

from __future__ import annotations

from typing import Any

import msgspec

from celeriac.errors import InvalidData
from celeriac.event.annotation import annotation_name
from celeriac.event.attributes import is_json
from celeriac.event.data_decoder import DataMismatch, decoder_for
from celeriac.event.envelope import Event


def check_annotation(annotation: Any) -> None:
    """Raise SubscriptionError for a type that data cannot be decoded as."""
    decoder_for(annotation)


def decode_data(event: Event[Any], annotation: Any) -> Event[Any]:
    """Return the event with its data decoded as `annotation`, which may be Any.

    msgspec decodes JSON strictly ('5' is not an int), pydantic as the model is configured. Unknown
    fields are ignored unless the type forbids them. An event without data has the data null. Binary
    data is bytes, or the JSON document in them if the type does not accept bytes.

    Raises InvalidData that names the event, the field and the reason, never the value.
    """
    return msgspec.structs.replace(event, data=decoded_data(event, annotation))


def decoded_data(event: Event[Any], annotation: Any) -> Any:
    """Return the data that `decode_data` gives the event. Raises InvalidData."""
    data = event.data
    decoder = decoder_for(annotation)
    try:
        if isinstance(data, msgspec.Raw):
            if annotation is bytes and not is_json(event.datacontenttype):
                # msgspec would decode the text as base64.
                return decoder_for(str).from_json(data).encode()
            return decoder.from_json(data)
        if isinstance(data, bytes):
            return _binary(event, annotation)
        return decoder.from_python(data)
    except DataMismatch as mismatch:
        reason = "it has no data" if data is None else str(mismatch)
        raise InvalidData(
            f"{event.type} {event.id} does not fit {annotation_name(annotation)}: {reason}"
        ) from None


def _binary(event: Event[Any], annotation: Any) -> Any:
    decoder = decoder_for(annotation)
    if not is_json(event.datacontenttype):
        return decoder.from_python(event.data)
    try:
        return decoder.from_python(event.data)
    except DataMismatch:
        return decoder.from_json(event.data)


def validate_for_emit(type_: str, data: Any, annotation: Any) -> Any:
    """Return the data to encode, as `annotation`, the type declared for events of `type_`.

    An instance of the declared model is returned as it is. Other data is converted to it as
    strictly as handlers decode it. Fields that the model does not have are dropped.

    Raises InvalidData, without the value.
    """
    if annotation is Any:
        return data
    try:
        return decoder_for(annotation).from_python(data)
    except DataMismatch as mismatch:
        raise InvalidData(
            f"{type_} does not fit {annotation_name(annotation)}: {mismatch}"
        ) from None
