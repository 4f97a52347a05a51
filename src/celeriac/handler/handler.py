"""A handler: a function, what it subscribes to, and how it is run. Frozen once registered."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from celeriac.circuit_breaker import Breaker
from celeriac.delivery import Group
from celeriac.errors import SubscriptionError
from celeriac.event import Matcher, compile_patterns
from celeriac.flow_control import MAX_TOGETHER, ORDERED, FlowControl
from celeriac.handler.per_key import Debounce, PerKey, make_flow_control, rate_per_second
from celeriac.handler.policy import (
    ErrorPolicies,
    FailurePolicy,
    RetryPolicy,
    check_policies,
)
from celeriac.handler.share import Predicate, ShareFilter, with_share
from celeriac.handler.signature import Signature, read_signature

if TYPE_CHECKING:
    from celeriac.inbox import IdempotentReceiver, Inbox

Start = Literal["now", "beginning"] | datetime

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One subscription. `id` is `service.name`, also the name of the Celery task."""

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
    # What the events of one key are allowed; None where no event waits for another.
    flow: FlowControl | None = None
    batch: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    per_second: float | None = None
    priority: int = 0
    signed: bool = False
    # Called instead of the function where the handler has an inbox.
    receiver: IdempotentReceiver | None = None
    concurrency: int | None = None
    breaker: Breaker | None = None
    # Applied by `when`, which has both.
    share: float | None = None
    # At its first start, until an operator resumes it.
    paused: bool = False

    def group(self, domain: str) -> Group:
        return Group(domain=domain, handler=self.id, flow=self.flow)

    @property
    def ordered(self) -> bool:
        """Whether the events of one key run one at a time and in order, across retries."""
        return self.flow is not None and self.flow.ordered

    @property
    def doc(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def options(self) -> dict[str, str]:
        """What differs from the defaults, for people."""
        policy, usual = self.failure.default, RetryPolicy()
        shown: dict[str, Any] = {
            "retries": policy.retries if policy.retries != usual.retries else None,
            "backoff": f"{policy.backoff:g}s" if policy.backoff != usual.backoff else None,
            **_shown(self.flow),
            "batch": self.batch,
            "time_limit": self.time_limit,
            "rate": f"{self.per_second:g}/s" if self.per_second else None,
            "priority": self.priority or None,
            "concurrency": self.concurrency,
            "breaker": self.breaker,
            "signed": self.signed,
            "share": f"{self.share:g}" if self.share is not None else None,
            "when": (self.when.when if isinstance(self.when, ShareFilter) else self.when)
            is not None,
            "inbox": self.receiver is not None,
        }
        return {
            name: str(value)
            for name, value in shown.items()
            if value is not None and value is not False
        }


def make_handler(
    function: Callable[..., Any],
    patterns: Sequence[str],
    *,
    service: str,
    name: str | None = None,
    when: Predicate | None = None,
    retries: int = 5,
    backoff: float = 1.0,
    max_backoff: float = 600.0,
    jitter: float = 0.25,
    on_error: ErrorPolicies | None = None,
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
    rate_limit: str | float | PerKey | None = None,
    priority: int = 0,
    queue: str | None = None,
    batch: int | None = None,
    ordered: bool = False,
    signed: bool = False,
    inbox: Any = None,
    inbox_keep_ms: Callable[[], int] = lambda: 0,
    start: Start = "now",
    concurrency: int | PerKey | None = None,
    breaker: Breaker | None = None,
    key: str | None = None,
    fair: bool = False,
    weights: Mapping[str, float] | None = None,
    debounce: Debounce | None = None,
    share: float | None = None,
    paused: bool = False,
) -> Handler:
    """Checks everything a handler can have wrong; raises SubscriptionError with the remedy."""
    name = str(name or getattr(function, "__name__", ""))
    if not _NAME.fullmatch(name):
        raise SubscriptionError(
            f"handler name {name!r}: letters, digits and _; give one with @bus.on(..., name='...')"
        )
    where = f"{service}.{name}"
    try:
        _check_kinds(
            numbers={
                "retries": retries,
                "backoff": backoff,
                "max_backoff": max_backoff,
                "jitter": jitter,
                "time_limit": time_limit,
                "soft_time_limit": soft_time_limit,
            },
            whole={
                "retries": retries,
                "priority": priority,
                "batch": batch,
                "concurrency": None if isinstance(concurrency, PerKey) else concurrency,
            },
            texts={"queue": queue},
        )
        matcher = compile_patterns(*patterns)
        kept_in = _inbox(inbox)
        together = isinstance(debounce, Debounce) and debounce.keep == "all"
        signature = read_signature(
            function, batch=batch is not None or together, session=kept_in.gives if kept_in else ""
        )
        receiver = _receiver(function, where, signature, kept_in, inbox_keep_ms)
        policy = RetryPolicy(
            retries=retries, backoff=backoff, max_backoff=max_backoff, jitter=jitter
        )
        check_policies(on_error or {})
        _check_options(batch, ordered, priority, start, time_limit, soft_time_limit, when)
        if not isinstance(paused, bool):
            raise SubscriptionError(f"paused={paused!r}: must be True or False")
        when = with_share(share, when)
        flow = make_flow_control(
            ordered=ordered,
            key=key,
            concurrency=concurrency,
            rate_limit=rate_limit,
            fair=fair,
            weights=weights,
            debounce=debounce,
            data_type=signature.data_type,
        )
        _check_debounced(debounce, batch, when, signed, share)
        per_second = None if isinstance(rate_limit, PerKey) else rate_per_second(rate_limit)
        for_all = None if isinstance(concurrency, PerKey) else concurrency
        _check_protection(for_all, breaker)
    except SubscriptionError as error:
        raise SubscriptionError(f"@bus.on for {where}: {error}") from None
    return Handler(
        id=where,
        service=service,
        name=name,
        function=function,
        patterns=tuple(dict.fromkeys(patterns)),
        matcher=matcher,
        when=when,
        data_type=signature.data_type,
        is_async=signature.is_async,
        failure=FailurePolicy(policy, dict(on_error or {})),
        queue=queue or service,
        start=start,
        flow=flow,
        batch=MAX_TOGETHER if together else batch,
        time_limit=time_limit,
        soft_time_limit=soft_time_limit,
        per_second=per_second,
        priority=priority,
        signed=signed,
        receiver=receiver,
        concurrency=for_all,
        breaker=breaker,
        share=share,
        paused=paused,
    )


def _inbox(given: Any) -> Inbox | None:
    if given is None:
        return None
    # Here and not above: it is imported by those alone that have one.
    from celeriac.inbox import as_inbox

    return as_inbox(given)


def _receiver(
    function: Callable[..., Any],
    handler: str,
    signature: Signature,
    inbox: Inbox | None,
    keep_ms: Callable[[], int],
) -> IdempotentReceiver | None:
    if inbox is None:
        return None
    from celeriac.inbox import IdempotentReceiver

    if signature.is_async and not inbox.is_async:
        raise SubscriptionError(
            f"inbox={inbox!r} opens transactions that block, and the handler is a coroutine; give "
            "an async_sessionmaker or an AsyncEngine, or write `def` without `async`"
        )
    if inbox.is_async and not signature.is_async:
        raise SubscriptionError(
            "inbox= opens transactions for coroutines; give a sessionmaker or an Engine, or write "
            "`async def`"
        )
    return IdempotentReceiver(handler, function, signature.takes_session, inbox, keep_ms)


def _check_protection(concurrency: int | None, breaker: Breaker | None) -> None:
    if concurrency is not None and concurrency < 1:
        raise SubscriptionError(f"concurrency={concurrency}: must be at least 1")
    if breaker is not None and not isinstance(breaker, Breaker):
        raise SubscriptionError(
            f"breaker={breaker!r}: give a Breaker(failures=5, window=60, recovery_timeout=30)"
        )


def _check_kinds(
    *, numbers: Mapping[str, Any], whole: Mapping[str, Any], texts: Mapping[str, Any]
) -> None:
    for kinds, wanted, options in (
        ((int, float), "a number", numbers),
        ((int,), "a whole number", whole),
        ((str,), "a name", texts),
    ):
        for option, value in options.items():
            # True is an int for Python, and a mistake for everyone else
            fits = isinstance(value, kinds) and not isinstance(value, bool) and value != ""
            if value is not None and not fits:
                raise SubscriptionError(f"{option}={value!r}: must be {wanted}")


def _check_options(
    batch: int | None,
    ordered: bool,
    priority: int,
    start: Start,
    time_limit: float | None,
    soft_time_limit: float | None,
    when: Predicate | None,
) -> None:
    if batch is not None and batch < 1:
        raise SubscriptionError(f"batch={batch}: must be at least 1")
    if batch is not None and ordered:
        raise SubscriptionError(
            "batch= and ordered=True exclude each other: a batch mixes subjects; drop one of them"
        )
    if not 0 <= priority <= 9:
        raise SubscriptionError(f"priority={priority}: 0 (normal) to 9 (most urgent)")
    if time_limit is not None and soft_time_limit is not None and soft_time_limit >= time_limit:
        raise SubscriptionError(
            f"soft_time_limit={soft_time_limit}: must be under time_limit={time_limit}, which ends "
            "the process"
        )
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise SubscriptionError(f"start={start!r}: give it a timezone, e.g. {UTC}")
    elif start not in ("now", "beginning"):
        raise SubscriptionError(f"start={start!r}: 'now', 'beginning' or a datetime")
    for option, limit in (("time_limit", time_limit), ("soft_time_limit", soft_time_limit)):
        if limit is not None and limit <= 0:
            raise SubscriptionError(f"{option}={limit}: must be over 0 seconds")
    if when is not None and (not callable(when) or inspect.iscoroutinefunction(when)):
        raise SubscriptionError(
            f"when={when!r}: a function of the event that returns a bool; a coroutine cannot"
        )


def _check_debounced(
    debounce: Debounce | None,
    batch: int | None,
    when: Predicate | None,
    signed: bool,
    share: float | None,
) -> None:
    if debounce is None:
        return
    if batch is not None:
        raise SubscriptionError(
            "batch= and debounce= exclude each other: with Debounce(keep='all') the handler is "
            "given a list already; drop batch="
        )
    if debounce.keep == "all":
        return
    # These are known only once an event was given out. What is refused then would have absorbed an
    # event that counts.
    refused = {"when=": when is not None, "signed=True": signed, "share=": share is not None}
    for option, given in refused.items():
        if given:
            raise SubscriptionError(
                f"{option} and Debounce(keep={debounce.keep!r}) exclude each other: events are "
                f"coalesced before {option.rstrip('=')} is looked at; use keep='all'"
            )


def _shown(flow: FlowControl | None) -> dict[str, Any]:
    """The options of a flow control, for people."""
    if flow is None:
        return {}
    quiet, most = flow.quiet_ms / 1000, flow.max_quiet_ms / 1000
    return {
        "ordered": flow.ordered,
        "key": flow.key if flow != ORDERED else None,
        "concurrency per key": None if flow.ordered else flow.concurrency,
        "rate per key": f"{flow.per_second:g}/s" if flow.per_second else None,
        "fair": flow.fair,
        "debounce": f"{quiet:g}s, at most {most:g}s, keep {flow.keep}" if flow.quiet_ms else None,
    }
