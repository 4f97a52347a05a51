"""Typed data: the same check for what a handler is given and for what is emitted."""

from __future__ import annotations

from typing import Any

import msgspec

from celeriac.errors import InvalidData
from celeriac.event.annotation import annotation_name
from celeriac.event.attributes import is_json
from celeriac.event.data_decoder import DataMismatch, decoder_for
from celeriac.event.envelope import Event


def check_annotation(annotation: Any) -> None:
    """Raises SubscriptionError for a type that data cannot be read as."""
    decoder_for(annotation)


def decode_data(event: Event[Any], annotation: Any) -> Event[Any]:
    """The event with its data as `annotation`, which may be Any.

    JSON is read strictly by msgspec ('5' is no int), by pydantic as the model is configured;
    unknown fields are ignored unless the type forbids them. An event without data is read as
    null. Binary data is bytes, or the JSON document in them if the type takes no bytes.
    Raises InvalidData naming the event, the field and the reason, never the value.
    """
    return msgspec.structs.replace(event, data=_decoded(event, annotation))


def _decoded(event: Event[Any], annotation: Any) -> Any:
    data = event.data
    reader = decoder_for(annotation)
    try:
        if isinstance(data, msgspec.Raw):
            if annotation is bytes and not is_json(event.datacontenttype):
                # msgspec would take the text for base64
                return decoder_for(str).from_json(data).encode()
            return reader.from_json(data)
        if isinstance(data, bytes):
            return _binary(event, annotation)
        return reader.from_python(data)
    except DataMismatch as misfit:
        reason = "it has no data" if data is None else str(misfit)
        raise InvalidData(
            f"{event.type} {event.id} does not fit {annotation_name(annotation)}: {reason}"
        ) from None


def _binary(event: Event[Any], annotation: Any) -> Any:
    reader = decoder_for(annotation)
    if not is_json(event.datacontenttype):
        return reader.from_python(event.data)
    try:
        return reader.from_python(event.data)
    except DataMismatch:
        return reader.from_json(event.data)


def validate_for_emit(type_: str, data: Any, annotation: Any) -> Any:
    """The data to encode: as `annotation`, the type declared for events of `type_`.

    An instance of the declared model is kept as it is. Anything else is converted to it, by
    msgspec strictly: handlers read strictly too, so what passes here passes there. Fields that
    the model does not know are not sent. Raises InvalidData, which never holds the value.
    """
    if annotation is Any:
        return data
    try:
        return decoder_for(annotation).from_python(data)
    except DataMismatch as misfit:
        raise InvalidData(f"{type_} does not fit {annotation_name(annotation)}: {misfit}") from None
