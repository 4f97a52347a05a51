"""Handlers behind HTTP: the function that sends an event, and its options of `bus.on`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, cast

from msgspec import Raw

from celeriac.errors import SubscriptionError
from celeriac.event import Event, RawEvent
from celeriac.handler import HandlerOptions
from celeriac.push.connection import Target
from celeriac.push.endpoint import HeaderValue
from celeriac.push.request import (
    Request,
    check_header_names,
    origin_of,
    read_url,
)
from celeriac.push.signature import Secrets, read_secrets
from celeriac.service import Service

# The others call a function with a list of events, or within a database transaction.
OPTIONS = frozenset(field.name for field in fields(HandlerOptions)) - {"batch", "inbox", "name"}


def make_push(
    service: Service,
    name: str,
    url: str,
    *,
    structured: bool = False,
    timeout: float = 30.0,
    headers: Mapping[str, HeaderValue] | None = None,
    secrets: Secrets | None = None,
    **options: Any,
) -> tuple[Callable[[Event[Raw]], None], dict[str, Any]]:
    """Return the function of a handler that sends each event to `url`, and its options of `on`.

    Raises ConfigurationError or its subclass SubscriptionError for a wrong argument; no message
    contains a secret.
    """
    owner = f"bus.push for {name!r}"
    check_options(options, owner)
    check_timeout(timeout, owner)
    check_header_names(headers or {}, owner)
    if not callable(secrets):
        read_secrets(secrets, owner)
    parsed = read_url(url, owner)
    request = Request(
        where=origin_of(parsed),
        handler=f"{service.settings.service}.{name}",
        target=Target(parsed, timeout),
        structured=structured,
        headers=dict(headers or {}),
        secrets=secrets,
        sensitive_names=service.settings.sensitive_names,
    )

    def push(event: Event[Raw]) -> None:
        request.send(cast("RawEvent", event), event.id)

    push.__doc__ = f"Send each event to {request.where}."
    return push, options


def check_options(options: Mapping[str, Any], owner: str) -> None:
    """Raise SubscriptionError for an option of `bus.on` that does not apply."""
    if unknown := options.keys() - OPTIONS:
        raise SubscriptionError(
            f"{owner}: it cannot have {min(unknown)}=. Its options of @bus.on are "
            f"{', '.join(sorted(OPTIONS))}"
        )


def check_timeout(timeout: object, owner: str) -> None:
    """Raise SubscriptionError unless it is a number of seconds over 0, and at most an hour."""
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not is_number or not 0 < timeout <= 3600:  # type: ignore[operator]
        raise SubscriptionError(
            f"{owner}: timeout={timeout!r}: must be a number of seconds over 0, at most 3600"
        )
