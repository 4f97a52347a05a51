"""Make the Handler of a registration, from the body of a request or from its stored record. Pure.

The options are those of `bus.on`, which also checks them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from celeriac.circuit_breaker import Breaker
from celeriac.errors import SubscriptionError
from celeriac.event import Event
from celeriac.event.attributes import MAX_LENGTH
from celeriac.handler import Debounce, Handler, HandlerOptions, PerKey, make_handler
from celeriac.handler.options import Start
from celeriac.pull.refusal import Invalid
from celeriac.pull.result import convert
from celeriac.registry import HandlerRecord, PullOptions
from celeriac.registry.pull_options import PullBreaker, PullDebounce

MIN_LEASE, MAX_LEASE = 1.0, 12 * 3600.0  # seconds
MAX_PATTERNS = 100
MAX_DESCRIPTION = 200
MAX_KEYS = 100  # in `weights`, and in `tenants`

_ID = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z_][A-Za-z0-9_]*)")
_FIELDS = ("patterns", *PullOptions.__struct_fields__)
_NESTED = {
    "breaker": PullBreaker.__struct_fields__,
    "debounce": PullDebounce.__struct_fields__,
}
# As @bus.on begins its errors.
_PREFIX = re.compile(r"^@bus\.on for [^:]*: ")


@dataclass(frozen=True, slots=True)
class Registration:
    """What a client registers."""

    patterns: tuple[str, ...]
    options: PullOptions


def read_registration(body: Mapping[str, Any]) -> Registration:
    """Return the registration in a decoded JSON object. Raises Invalid that names the member."""
    if unknown := sorted(body.keys() - set(_FIELDS)):
        raise Invalid(
            f"unknown option {unknown[0]!r}. The options are {', '.join(_FIELDS)}",
            field=unknown[0],
        )
    patterns = body.get("patterns")
    if (
        not isinstance(patterns, list)
        or not 0 < len(patterns) <= MAX_PATTERNS
        or not all(isinstance(pattern, str) for pattern in patterns)
    ):
        raise Invalid(
            f'`patterns` must be a list of 1 to {MAX_PATTERNS} event types, such as ["order.*"]',
            field="patterns",
        )
    for name, fields in _NESTED.items():
        _check_members(name, body.get(name), fields)
    given = {name: value for name, value in body.items() if name != "patterns"}
    options: PullOptions = convert(given, PullOptions)
    _check_numbers(options)
    return Registration(tuple(dict.fromkeys(patterns)), options)


def _check_members(name: str, value: object, known: tuple[str, ...]) -> None:
    # The Structs allow unknown members: a record of a newer version may have them.
    unknown = sorted(value.keys() - {*known}) if isinstance(value, dict) else ()
    if unknown:
        raise Invalid(
            f"`{name}` has the unknown member {unknown[0]!r}. Its members are {', '.join(known)}",
            field=name,
        )


def _check_numbers(options: PullOptions) -> None:
    if not MIN_LEASE <= options.lease <= MAX_LEASE:
        raise Invalid(
            f"lease={options.lease!r}: must be from {MIN_LEASE:g} to {MAX_LEASE:g} seconds. Renew "
            "the lease of deliveries that run for longer",
            field="lease",
        )
    for name in ("weights", "tenants"):
        if len(getattr(options, name) or ()) > MAX_KEYS:
            raise Invalid(f"`{name}` must have at most {MAX_KEYS} members", field=name)
    if len(options.description) > MAX_DESCRIPTION or not (
        options.description.isprintable() or not options.description
    ):
        raise Invalid(
            f"`description` must be one line of at most {MAX_DESCRIPTION} characters",
            field="description",
        )


def split_id(id: str) -> tuple[str, str]:
    """Return service and name of a handler id, which becomes a part of Redis keys. Raises
    Invalid."""
    match = _ID.fullmatch(id) if len(id) <= MAX_LENGTH else None
    if match is None:
        raise Invalid(
            "a handler id is `service.name`: letters, digits, _ (and - in the service), such as "
            "search.index_order"
        )
    return match[1], match[2]


def make_pull_handler(id: str, registration: Registration, *, requires_signature: bool) -> Handler:
    """Return the handler. Raises Invalid for a wrong id, pattern or option."""
    service, name = split_id(id)
    options = registration.options

    def fetched(event: Event[msgspec.Raw]) -> None:
        raise NotImplementedError(f"{id} is fetched over HTTP and does not run in a worker")

    try:
        handler = make_handler(
            fetched,
            registration.patterns,
            _handler_options(name, options, requires_signature=requires_signature),
            service=service,
        )
    except SubscriptionError as error:
        raise Invalid(_PREFIX.sub("", str(error))) from None
    return replace(handler, pull=options)


def handler_of(record: HandlerRecord, *, requires_signature: bool) -> Handler:
    """Return the handler of a record with pull options. Raises Invalid."""
    registration = Registration(record.patterns, record.pull or PullOptions())
    return make_pull_handler(record.id, registration, requires_signature=requires_signature)


def _handler_options(
    name: str, options: PullOptions, *, requires_signature: bool
) -> HandlerOptions:
    breaker, debounce = options.breaker, options.debounce
    for total, per_key in (
        ("concurrency", "concurrency_per_key"),
        ("rate_limit", "rate_limit_per_key"),
    ):
        if getattr(options, total) is not None and getattr(options, per_key) is not None:
            raise SubscriptionError(f"{total} and {per_key} exclude each other; drop one of them")
    return HandlerOptions(
        name=name,
        retries=options.retries,
        backoff=options.backoff,
        max_backoff=options.max_backoff,
        jitter=options.jitter,
        rate_limit=_either(options.rate_limit, options.rate_limit_per_key),
        ordered=options.ordered,
        # A gateway that requires signatures requires them for each of its handlers.
        signed=requires_signature or bool(options.signed),
        start=_start(options.start),
        concurrency=_either(options.concurrency, options.concurrency_per_key),
        breaker=Breaker(**msgspec.structs.asdict(breaker)) if breaker else None,
        share=options.share,
        tenants=options.tenants,
        paused=options.paused,
        key=options.key,
        fair=options.fair,
        weights=options.weights,
        debounce=Debounce(**msgspec.structs.asdict(debounce)) if debounce else None,
    )


def _either(total: Any, per_key: Any) -> Any:
    return total if per_key is None else PerKey(per_key)


def _start(text: str) -> Start:
    if text in ("now", "beginning"):
        return "now" if text == "now" else "beginning"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SubscriptionError(
            f"start={text!r}: must be 'now', 'beginning' or a time such as 2026-01-31T00:00:00Z"
        ) from None
    return moment
