"""A handler: a function, its patterns, and how it runs. Frozen once registered."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from celeriac.circuit_breaker import Breaker
from celeriac.delivery import Group
from celeriac.errors import SubscriptionError
from celeriac.event import Matcher, compile_patterns
from celeriac.event.attributes import MAX_LENGTH
from celeriac.flow_control import MAX_TOGETHER, ORDERED, FlowControl
from celeriac.handler.event_filter import Predicate, event_filter, given_when, read_tenants
from celeriac.handler.flow_options import make_flow_control
from celeriac.handler.options import HandlerOptions, Start
from celeriac.handler.policy import FailurePolicy
from celeriac.handler.signature import Signature, read_signature
from celeriac.registry import PullOptions
from celeriac.tenant import tenant_marks

if TYPE_CHECKING:
    from celeriac.inbox import IdempotentReceiver, Inbox
    from celeriac.inbox.receiver import EmitsReturned

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEFAULTS = HandlerOptions()


class EventReader(Protocol):
    """The events that a method of a process handles, and the type that it reads their data as."""

    @property
    def patterns(self) -> tuple[str, ...]: ...
    @property
    def matcher(self) -> Matcher: ...
    @property
    def data_type(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A registered handler. `id` is `service.name`, also the name of its Celery task."""

    id: str
    service: str
    name: str
    function: Callable[..., Any]
    patterns: tuple[str, ...]
    matcher: Matcher
    when: Predicate | None
    data_type: Any
    is_async: bool
    failure: FailurePolicy
    queue: str
    start: Start = "now"
    # Limits per key; None if the handler has none.
    flow_control: FlowControl | None = None
    batch: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    per_second: float | None = None
    priority: int = 0
    signed: bool = False
    # If the handler has an inbox, called instead of the function.
    receiver: IdempotentReceiver | None = None
    concurrency: int | None = None
    breaker: Breaker | None = None
    # Applied by `when`, too.
    share: float | None = None
    # Applied before `when`, without reading the data.
    tenants: frozenset[str] | None = None
    # Applied at the handler's first registration only.
    paused: bool = False
    # Emits what the function returns; None ignores it.
    returned: EmitsReturned | None = None
    # The key of the instances, if the handler is a process.
    process_key: str = ""
    # What the methods of a process read; `data_type` is then any data.
    methods: tuple[EventReader, ...] = ()
    # The options as they were registered, if deliveries are fetched over HTTP.
    pull: PullOptions | None = None

    def data_type_of(self, event_type: str) -> Any:
        """Return the type that the handler reads the data of these events as.

        Of a process, the first method that matches reads them.
        """
        matching = (method for method in self.methods if method.matcher.matches(event_type))
        reader = next(matching, None)
        return self.data_type if reader is None else reader.data_type

    def group(self, domain: str) -> Group:
        """Return the handler's consumer group on a domain."""
        return Group(domain=domain, handler=self.id, flow_control=self.flow_control)

    @property
    def interests(self) -> tuple[str, ...]:
        """The patterns and the marks of the tenants: what versions of the code differ in."""
        return (*self.patterns, *tenant_marks(self.tenants))

    @property
    def ordered(self) -> bool:
        """Whether the events of one key run one at a time and in order, across retries."""
        return self.flow_control is not None and self.flow_control.ordered

    @property
    def has_filter(self) -> bool:
        """Whether it gets only some of the events that match its patterns."""
        return self.when is not None or self.tenants is not None

    @property
    def doc(self) -> str:
        """The first line of the function's docstring."""
        text = self.pull.description if self.pull else inspect.getdoc(self.function)
        return (text or "").partition("\n")[0]

    def describe_options(self) -> dict[str, str]:
        """Return the options that differ from their defaults, as text for display."""
        policy = self.failure.default
        described: dict[str, Any] = {
            "retries": policy.retries if policy.retries != _DEFAULTS.retries else None,
            "backoff": f"{policy.backoff:g}s" if policy.backoff != _DEFAULTS.backoff else None,
            **_describe_flow(self.flow_control),
            "batch": self.batch,
            "time_limit": self.time_limit,
            "rate": f"{self.per_second:g}/s" if self.per_second else None,
            "priority": self.priority or None,
            "concurrency": self.concurrency,
            "breaker": self.breaker,
            "signed": self.signed,
            "share": f"{self.share:g}" if self.share is not None else None,
            "tenants": ",".join(sorted(self.tenants)) if self.tenants else None,
            "when": given_when(self.when) is not None,
            "inbox": self.receiver is not None,
            "process": self.process_key or None,
            "pull": f"lease {self.pull.lease:g}s" if self.pull else None,
        }
        return {
            name: str(value)
            for name, value in described.items()
            if value is not None and value is not False
        }


def make_handler(
    function: Callable[..., Any],
    patterns: Sequence[str],
    options: HandlerOptions = _DEFAULTS,
    *,
    service: str,
    inbox_keep_ms: Callable[[], int] = lambda: 0,
    returned: EmitsReturned | None = None,
) -> Handler:
    """Return the handler for a function.

    `inbox_keep_ms` returns how long, in milliseconds, the inbox keeps its rows. `returned` emits
    the events that the function returns.

    Raises SubscriptionError, with the remedy, for a wrong name, pattern, option or signature.
    """
    name = handler_name(function, options, service)
    handler_id = f"{service}.{name}"
    try:
        options.check()
        matcher = compile_patterns(*patterns)
        inbox = _open_inbox(options.inbox)
        signature = read_signature(
            function, batch=options.takes_list, session=inbox.session_kind if inbox else ""
        )
        receiver = _make_receiver(function, handler_id, signature, inbox, inbox_keep_ms, returned)
        flow_control = make_flow_control(options, signature.data_type)
        per_second = options.total_rate
        tenants = read_tenants(options.tenants)
    except SubscriptionError as error:
        raise SubscriptionError(f"@bus.on for {handler_id}: {error}") from None
    return Handler(
        id=handler_id,
        service=service,
        name=name,
        function=function,
        patterns=tuple(dict.fromkeys(patterns)),
        matcher=matcher,
        when=event_filter(options.share, options.when),
        data_type=signature.data_type,
        is_async=signature.is_async,
        failure=FailurePolicy(options.retry_policy(), dict(options.on_error or {})),
        queue=options.queue or service,
        start=options.start,
        flow_control=flow_control,
        batch=MAX_TOGETHER if options.debounces_all else options.batch,
        time_limit=options.time_limit,
        soft_time_limit=options.soft_time_limit,
        per_second=per_second,
        priority=options.priority,
        signed=bool(options.signed),
        receiver=receiver,
        concurrency=options.total_concurrency,
        breaker=options.breaker,
        share=options.share,
        tenants=tenants,
        paused=options.paused,
        returned=returned,
    )


def handler_name(function: Callable[..., Any], options: HandlerOptions, service: str) -> str:
    """Return the name of the handler. Raises SubscriptionError for an invalid one."""
    name = str(options.name or getattr(function, "__name__", ""))
    if not _NAME.fullmatch(name):
        raise SubscriptionError(
            f"handler name {name!r} is invalid: it may have letters, digits and _ only, and no "
            "digit first. Give one with @bus.on(..., name='...')"
        )
    if (length := len(f"{service}.{name}")) > MAX_LENGTH:
        raise SubscriptionError(
            f"handler name {name[:40] + '…'!r} is too long: with the service {service!r}, its id "
            f"has {length} characters, at most {MAX_LENGTH} are allowed. Give a shorter one with "
            "@bus.on(..., name='...')"
        )
    return name


def _open_inbox(inbox: Any) -> Inbox | None:
    if inbox is None:
        return None
    # Imported here so that only handlers with an inbox pay for it.
    from celeriac.inbox import as_inbox

    return as_inbox(inbox)


def _make_receiver(
    function: Callable[..., Any],
    handler_id: str,
    signature: Signature,
    inbox: Inbox | None,
    keep_ms: Callable[[], int],
    returned: EmitsReturned | None,
) -> IdempotentReceiver | None:
    if inbox is None:
        return None
    from celeriac.inbox import IdempotentReceiver

    if signature.is_async and not inbox.is_async:
        raise SubscriptionError(
            f"inbox={inbox!r} opens blocking transactions, but the handler is a coroutine "
            "function. Give an async_sessionmaker or an AsyncEngine, or write `def` without "
            "`async`"
        )
    if inbox.is_async and not signature.is_async:
        raise SubscriptionError(
            "inbox= opens transactions for coroutines, but the handler is a plain function. Give "
            "a sessionmaker or an Engine, or write `async def`"
        )
    return IdempotentReceiver(
        handler_id, function, signature.takes_session, inbox, keep_ms, returned
    )


def _describe_flow(flow_control: FlowControl | None) -> dict[str, Any]:
    if flow_control is None:
        return {}
    quiet, max_quiet = flow_control.quiet_ms / 1000, flow_control.max_quiet_ms / 1000
    debounce = f"{quiet:g}s, at most {max_quiet:g}s, keep {flow_control.keep}"
    return {
        "ordered": flow_control.ordered,
        "key": flow_control.key if flow_control != ORDERED else None,
        "concurrency per key": None if flow_control.ordered else flow_control.concurrency,
        "rate per key": f"{flow_control.per_second:g}/s" if flow_control.per_second else None,
        "fair": flow_control.fair,
        "debounce": debounce if flow_control.quiet_ms else None,
    }
