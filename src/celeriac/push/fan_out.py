"""Fan-out of an event to endpoints: one event for each, which is retried on its own."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from celeriac.errors import ConfigurationError
from celeriac.event import (
    Event,
    RawEvent,
    decode,
    decode_data,
    derived_event_id,
    encode,
    event_key,
)
from celeriac.event.attributes import MAX_LENGTH
from celeriac.event.http_message import STRUCTURED
from celeriac.event.sensitive import ALL
from celeriac.executor.call import run_awaitable
from celeriac.handler import Emit
from celeriac.push.endpoint import Endpoint, FindEndpoints


def endpoints_of(find: FindEndpoints, event: RawEvent) -> dict[str, Endpoint]:
    """Return the endpoints that want the event, by id. Blocks, also for a coroutine function.

    Raises ConfigurationError if the function returns anything else, or an id twice.
    """
    result: Any = find(decode_data(event, Any))
    if inspect.isawaitable(result):
        result = run_awaitable(result)
    if isinstance(result, str | bytes | Endpoint) or not isinstance(result, Iterable):
        raise ConfigurationError(
            f"endpoints= returned {type(result).__name__}: must be a list of Endpoint"
        )
    endpoints: dict[str, Endpoint] = {}
    for endpoint in result:
        if not isinstance(endpoint, Endpoint):
            raise ConfigurationError(
                f"endpoints= returned {type(endpoint).__name__}: must be a list of Endpoint"
            )
        if endpoint.id in endpoints:
            raise ConfigurationError(f"endpoints= returned two endpoints with id={endpoint.id!r}")
        endpoints[endpoint.id] = endpoint
    return endpoints


def delivery_event(
    event: RawEvent, endpoint: Endpoint, name: str, handler: str, encrypt_for: Sequence[str] | None
) -> Emit:
    """Return the event that delivers `event` to the endpoint, which only `handler` gets.

    Its data is `event` as JSON. A repeated fan-out derives the same id. No secret is in it.
    """
    sent = replace(event, handlers=(), keyid=None, signature=None)
    return Emit(
        f"{name}.{event.type}",
        Raw(encode(sent, valid=True)),
        id=delivery_id(event, endpoint.id),
        subject=event.subject,
        partitionkey=endpoint.id,
        handlers=(handler,),
        datacontenttype=STRUCTURED,
        sensitive=_sensitive_paths(event),
        encrypt_for=encrypt_for,
    )


def delivery_id(event: RawEvent, endpoint: str) -> str:
    """Return the id of the delivery of an event to an endpoint: `{event key}/{endpoint}`."""
    key = event_key(event.id, event.source)
    id = f"{key}/{endpoint}"
    return id if len(id) <= MAX_LENGTH else derived_event_id(key, endpoint)


def delivered_event(delivery: Event[Raw]) -> RawEvent:
    """Return the event that a delivery event carries. Raises InvalidEvent."""
    return decode(bytes(delivery.data))


def _sensitive_paths(event: RawEvent) -> list[str] | None:
    """Return the paths of sensitive data within the encoded event."""
    if not event.sensitive:
        return None
    if isinstance(event.data, bytes):
        return ["data_base64"]
    return ["data" if path == ALL else f"data.{path}" for path in event.sensitive.split(",")]
