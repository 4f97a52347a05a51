"""Validation of an envelope, for encoding and decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celeriac.errors import InvalidEvent
from celeriac.event.attributes import (
    MAX_EXTENSIONS,
    MAX_LIST,
    check_content_type,
    check_extension,
    check_handler,
    check_id,
    check_length,
    check_schema_uri,
    check_sensitive,
    check_tenant,
    check_text,
    check_time,
    check_traceparent,
    check_type,
)
from celeriac.event.envelope import Event
from celeriac.event.extensions import NO_EXTENSIONS


def validate(event: Event[Any]) -> None:
    """Raise InvalidEvent for the first attribute that violates CloudEvents 1.0. Skips the data."""
    check_id(event.id)
    check_text("source", event.source)
    check_type(event.type)
    if event.subject is not None:
        check_text("subject", event.subject)
    if event.time is not None:
        check_time(event.time)
    if event.datacontenttype is not None:
        check_content_type(event.datacontenttype)
    if event.dataschema is not None:
        check_schema_uri(event.dataschema)
    if event.correlationid is not None:
        check_text("correlationid", event.correlationid)
    if event.causationid is not None:
        check_text("causationid", event.causationid)
    if event.partitionkey is not None:
        check_text("partitionkey", event.partitionkey)
    if event.tenant is not None:
        check_tenant(event.tenant)
    if event.sensitive is not None:
        check_sensitive(event.sensitive)
    if event.keyid is not None:
        check_text("keyid", event.keyid)
    if event.signature is not None:
        check_text("signature", event.signature)
    if event.traceparent is not None:
        check_traceparent(event.traceparent)
    if event.handlers != ():
        _check_handlers(event.handlers)
    if event.extensions is not NO_EXTENSIONS:
        _check_extensions(event.extensions)


def _check_handlers(handlers: object) -> None:
    # A str would be a sequence of letters.
    if not isinstance(handlers, tuple):
        raise InvalidEvent(f"`handlers` must be a tuple of names, got {type(handlers).__name__}")
    for handler in handlers:
        check_handler(handler)
    check_length("handlers", " ".join(handlers), MAX_LIST)


def _check_extensions(extensions: object) -> None:
    if not isinstance(extensions, Mapping):
        raise InvalidEvent(f"`extensions` must be a mapping, got {type(extensions).__name__}")
    if len(extensions) > MAX_EXTENSIONS:
        raise InvalidEvent(
            f"there are {len(extensions):,} extension attributes, at most {MAX_EXTENSIONS} are "
            "allowed. Put structured values into data"
        )
    for name, value in extensions.items():
        check_extension(name, value)
