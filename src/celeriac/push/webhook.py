"""Webhooks: a handler that fans out, and a handler that sends to one endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

from msgspec import Raw

from celeriac.circuit_breaker import Breaker
from celeriac.errors import ConfigurationError, Reject, Skip, SubscriptionError
from celeriac.event import Event, RawEvent
from celeriac.handler import Emit, PerKey
from celeriac.push.answer import Gone
from celeriac.push.connection import Target
from celeriac.push.endpoint import Endpoint, FindEndpoints
from celeriac.push.endpoint_circuit import EndpointCircuits
from celeriac.push.fan_out import delivered_event, delivery_event, endpoints_of
from celeriac.push.handler import check_options, check_timeout
from celeriac.push.request import Request, check_header_names, read_url
from celeriac.service import Service

# 14 retries, from 5 seconds to half a day between them: about a day in all.
DEFAULTS: Mapping[str, Any] = {"retries": 14, "backoff": 5.0, "max_backoff": 43_200.0}
BREAKER = Breaker(failures=10, window=60.0, recovery_timeout=60.0)
PER_ENDPOINT = PerKey(4)
# Options that select events, and so belong to the fan-out.
FAN_OUT_OPTIONS = frozenset(("when", "share", "tenants", "signed", "start", "paused"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookHandler:
    """A handler to register: patterns, function and options of `bus.on`."""

    patterns: tuple[str, ...]
    function: Callable[..., Any]
    options: dict[str, Any]


def webhook_handlers(
    service: Service,
    patterns: Sequence[str],
    endpoints: FindEndpoints,
    name: str,
    *,
    structured: bool = True,
    timeout: float = 15.0,
    breaker: Breaker | None = BREAKER,
    allow_private: bool = False,
    gone: Callable[[Endpoint], object] | None = None,
    encrypt_for: Sequence[str] | None = None,
    **options: Any,
) -> tuple[WebhookHandler, WebhookHandler]:
    """Return the handler that fans out, `name`, and the handler that sends, `{name}_post`.

    Raises SubscriptionError, with the remedy, for a wrong argument.
    """
    owner = f"bus.webhooks for {name!r}"
    check_options(options, owner)
    check_timeout(timeout, owner)
    if not callable(endpoints):
        raise SubscriptionError(
            f"{owner}: endpoints={endpoints!r}: must be a function that takes the event and "
            "returns a list of Endpoint"
        )
    if "key" in options or "debounce" in options:
        raise SubscriptionError(
            f"{owner}: key= and debounce= do not apply, because the key is the endpoint"
        )
    if breaker is not None and not isinstance(breaker, Breaker):
        raise SubscriptionError(f"{owner}: breaker={breaker!r}: must be a Breaker, or None")
    if any(pattern.partition(".")[0] in (name, "#", "*") for pattern in patterns):
        raise SubscriptionError(
            f"{owner}: a pattern must begin with a domain, such as 'order.*', other than {name!r}, "
            "to which deliveries to endpoints are emitted"
        )
    handler = f"{service.settings.service}.{name}_post"
    sender = WebhookSender(
        handler=handler,
        endpoints=endpoints,
        structured=structured,
        timeout=timeout,
        allow_private=allow_private,
        gone=gone,
        service=service,
        circuits=None
        if breaker is None
        else EndpointCircuits(service, handler, breaker, timeout + service.settings.lease),
    )

    def fan_out(event: Event[Raw]) -> list[Emit]:
        """Emit one event for each endpoint that wants the event."""
        raw = cast("RawEvent", event)
        chosen = endpoints_of(endpoints, raw)
        return [delivery_event(raw, each, name, handler, encrypt_for) for each in chosen.values()]

    def post(event: Event[Raw]) -> None:
        """Send each event to its endpoint."""
        sender.send(event)

    selecting = {option: options[option] for option in options if option in FAN_OUT_OPTIONS}
    sending = {option: options[option] for option in options if option not in FAN_OUT_OPTIONS}
    # Endpoints take turns, so that those with a backlog do not delay the others.
    limits: dict[str, Any] = {"fair": True}
    if not sending.get("ordered"):
        limits["concurrency"] = PER_ENDPOINT
    # The deliveries to an endpoint are in the order in which the fan-out emits them.
    shared: dict[str, Any] = {
        option: options[option] for option in ("queue", "ordered") if option in options
    }
    return (
        WebhookHandler(
            patterns=tuple(patterns),
            function=fan_out,
            options={**shared, **selecting, "name": name},
        ),
        WebhookHandler(
            patterns=(f"{name}.#",),
            function=post,
            options={
                **DEFAULTS, **limits, **sending, "key": "partitionkey", "name": f"{name}_post",
            },
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSender:
    """Sends a delivery event to its endpoint, as the endpoint is at that time."""

    handler: str
    endpoints: FindEndpoints
    structured: bool
    timeout: float
    allow_private: bool
    gone: Callable[[Endpoint], object] | None
    service: Service
    circuits: EndpointCircuits | None

    def send(self, delivery: Event[Raw]) -> None:
        """Send the event in the delivery. Blocks.

        Raises PushFailed and CircuitOpen if it must be sent later, Reject if not, and Skip if the
        endpoint does not want the event any more.
        """
        event, id = delivered_event(delivery), delivery.partitionkey or ""
        endpoint = endpoints_of(self.endpoints, event).get(id)
        if endpoint is None:
            raise Skip(f"endpoint {id}: not among the endpoints that want the event")
        circuit = (
            nullcontext()
            if self.circuits is None
            else self.circuits.calling(id, delivery.id, event)
        )
        try:
            with circuit:
                self._request(endpoint).send(event, delivery.id)
        except ConfigurationError as error:
            # A repetition would fail in the same way, until the endpoint is changed.
            raise Reject(str(error)) from None
        except Gone:
            if self.gone is not None:
                self.gone(endpoint)
            raise

    def _request(self, endpoint: Endpoint) -> Request:
        where = f"endpoint {endpoint.id}"
        check_header_names(endpoint.headers, where)
        target = Target(read_url(endpoint.url, where), self.timeout, not self.allow_private)
        return Request(
            where=where,
            handler=self.handler,
            target=target,
            structured=self.structured,
            headers=endpoint.headers,
            secrets=endpoint.secrets,
            sensitive_names=self.service.settings.sensitive_names,
        )
