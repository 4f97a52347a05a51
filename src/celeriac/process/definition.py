"""The definition of a process, read once from its class: what each method handles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import MethodType
from typing import Any, Final, get_args

from celeriac.contract import Contract
from celeriac.contract.versions import contracts_of
from celeriac.errors import SubscriptionError
from celeriac.event import Matcher, check_annotation, compile_patterns
from celeriac.handler.key_path import check_key
from celeriac.handler.policy import RetryPolicy
from celeriac.handler.signature import read_signature
from celeriac.number_range import MAX_SECONDS, in_range
from celeriac.process.decision import Missing
from celeriac.process.declared import ATTRIBUTE, Declared
from celeriac.process.state import StateForm

DOMAIN: Final = "process"
REMINDED: Final = f"{DOMAIN}.reminded"
ABORT_REQUESTED: Final = f"{DOMAIN}.abort_requested"
RESERVED: Final = frozenset((REMINDED, ABORT_REQUESTED))
MAX_NAME: Final = 100  # characters of a timer's name

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Reaction:
    """A method that handles events. `data_type` is what it reads their data as."""

    method: str
    function: Callable[..., Any]
    patterns: tuple[str, ...]
    matcher: Matcher
    data_type: Any
    starts: bool


@dataclass(frozen=True, slots=True)
class ProcessDefinition:
    """A process. `wait_s` and `keep_ms` are the options `wait` and `keep`."""

    name: str
    cls: type[Any]
    key: str
    inbox: Any
    missing: Missing
    wait_s: float
    keep_ms: int
    state: StateForm
    reactions: tuple[Reaction, ...]
    reminders: dict[str, Callable[..., Any]]

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of all methods, and the types of the process's own events."""
        built_in = (REMINDED, ABORT_REQUESTED) if self.reminders else (ABORT_REQUESTED,)
        return (*dict.fromkeys(p for r in self.reactions for p in r.patterns), *built_in)

    def reaction_to(self, event_type: str) -> Reaction | None:
        """Return the first method, in the order of the class, whose pattern matches."""
        matching = (r for r in self.reactions if r.matcher.matches(event_type))
        return next(matching, None)

    def may_start(self, reaction: Reaction | None) -> bool:
        """Return whether an event of this method may start an instance."""
        return reaction is not None and (reaction.starts or self.missing == "start")

    def waiting_policy(self) -> RetryPolicy:
        """Return the retries of an event whose instance has not started, for about `wait_s`."""
        return waiting_policy(self.wait_s)


def waiting_policy(seconds: float) -> RetryPolicy:
    """Return retries that last for about so many seconds."""
    waited, retries = 0.0, 0
    while waited < seconds:
        waited += min(60.0, 2.0**retries)
        retries += 1
    return RetryPolicy(retries=retries, backoff=1.0, max_backoff=60.0, jitter=0.25)


def define(
    cls: type[Any],
    state: Any,
    *,
    key: str,
    inbox: Any,
    missing: Missing,
    wait: float | timedelta,
    keep: float | timedelta,
    name: str | None,
) -> ProcessDefinition:
    """Return the definition of a class. Raises SubscriptionError, with the remedy."""
    process = name or _WORDS.sub("_", cls.__name__).lower()
    try:
        check_key(key)
        if missing not in get_args(Missing):
            raise SubscriptionError(f"missing={missing!r}: must be 'wait', 'start' or 'skip'")
        reactions = tuple(_reactions(cls))
        if not any(reaction.starts for reaction in reactions) and missing != "start":
            raise SubscriptionError(
                "no method starts an instance. Decorate one with @starts('order.placed')"
            )
        return ProcessDefinition(
            name=process,
            cls=cls,
            key=key,
            inbox=inbox,
            missing=missing,
            wait_s=_seconds("wait", wait),
            keep_ms=int(_seconds("keep", keep) * 1000),
            state=_state_form(state, process),
            reactions=reactions,
            reminders=dict(_reminders(cls)),
        )
    except SubscriptionError as error:
        raise SubscriptionError(f"process {cls.__qualname__}: {error}") from None


def _state_form(model: Any, process: str) -> StateForm:
    check_annotation(model)
    try:
        model()
    except Exception as error:
        raise SubscriptionError(
            f"its state {getattr(model, '__qualname__', model)!s} cannot be made without arguments "
            f"({error}). Give each field a default"
        ) from None
    contracts: list[Contract] = contracts_of(model)
    if len(contracts) > 1:
        types = ", ".join(contract.type for contract in contracts)
        raise SubscriptionError(f"its state is the contract of several types: {types}. Use one")
    return StateForm(model, contracts[0] if contracts else None, process)


def _reactions(cls: type[Any]) -> Iterator[Reaction]:
    for method, function, declared in _declared(cls):
        if declared.timers:
            continue
        if not declared.patterns:
            raise SubscriptionError(f"{method} names no event type. Write @on('order.paid')")
        if reserved := RESERVED & set(declared.patterns):
            raise SubscriptionError(
                f"{method} handles {min(reserved)}, which celeriac emits itself. Use @reminded"
            )
        # Bound, so that the signature is the one that an event is passed to.
        signature = read_signature(MethodType(function, cls), batch=False)
        if signature.is_async:
            raise SubscriptionError(
                f"{method} is a coroutine function. Write `def`: a method changes its state and "
                "emits; work that waits belongs in a handler of what it emits"
            )
        yield Reaction(
            method=method,
            function=function,
            patterns=declared.patterns,
            matcher=compile_patterns(*declared.patterns),
            data_type=signature.data_type,
            starts=declared.starts,
        )


def _reminders(cls: type[Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    names: set[str] = set()
    for method, function, declared in _declared(cls):
        for name in declared.timers:
            if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
                raise SubscriptionError(
                    f"{method}: @reminded({name!r}) must be a name of at most {MAX_NAME} characters"
                )
            if name in names:
                raise SubscriptionError(f"{method}: another method has @reminded({name!r})")
            names.add(name)
            yield name, function


def _declared(cls: type[Any]) -> Iterator[tuple[str, Callable[..., Any], Declared]]:
    """Yield each mark of each method, those of base classes first."""
    methods = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    for method in methods:
        function = getattr(cls, method, None)
        for declared in getattr(function, ATTRIBUTE, ()):
            assert function is not None
            yield method, function, declared


def _seconds(option: str, value: float | timedelta) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not in_range(seconds, 0, MAX_SECONDS):
        raise SubscriptionError(
            f"{option}={value!r}: must be a timedelta, or seconds, from 0 to {MAX_SECONDS} seconds"
        )
    return float(seconds)
