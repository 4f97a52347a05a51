"""Make the handler of a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celeriac.emitter import Emitter
from celeriac.errors import SubscriptionError
from celeriac.handler import Handler, HandlerOptions, make_handler
from celeriac.inbox import as_inbox
from celeriac.process.advance import NotStarted
from celeriac.process.definition import ProcessDefinition
from celeriac.process.process import Process
from celeriac.process.receiver import handling, with_process_inbox
from celeriac.process.runner import Runner
from celeriac.process.state import NewerState

# Options of `bus.on` that a process can have. The others are options of the class, or they select
# or group events, which would break the order of an instance's steps.
OPTIONS = frozenset(
    (
        "backoff", "breaker", "concurrency", "jitter", "max_backoff", "on_error", "ordered",
        "paused", "priority", "queue", "rate_limit", "retries", "signed", "soft_time_limit",
        "start", "time_limit",
    )
)  # fmt: skip


def definition_of(process: Any) -> ProcessDefinition:
    """Return the definition of a class. Raises SubscriptionError for another object."""
    if not (isinstance(process, type) and issubclass(process, Process)):
        raise SubscriptionError(f"bus.process({process!r}): must be a subclass of Process")
    if process.definition is None:
        raise SubscriptionError(
            f"process {process.__qualname__} has no inbox. Write "
            f"class {process.__name__}(Process[State], inbox=Sessions)"
        )
    return process.definition


def process_handler(
    process: Any,
    options: Mapping[str, Any],
    *,
    service: str,
    emitter: Emitter,
    inbox_keep_ms: Callable[[], int],
) -> Handler:
    """Return the handler of a process. Raises SubscriptionError, with the remedy."""
    definition = definition_of(process)
    if unknown := set(options) - OPTIONS:
        raise SubscriptionError(
            f"bus.process({process.__qualname__}): a process cannot have {min(unknown)}=. Its "
            f"options are {', '.join(sorted(OPTIONS))}"
        )
    waiting = definition.waiting_policy()
    on_error = {NotStarted: waiting, NewerState: waiting, **(options.get("on_error") or {})}
    ordering = {"key": definition.key} if options.get("ordered") else {}
    given = HandlerOptions(
        **{
            **options,
            **ordering,
            "name": definition.name,
            "inbox": definition.inbox,
            "on_error": on_error,
        }
    )
    runner = Runner(definition, f"{service}.{definition.name}", emitter)
    handler = make_handler(
        handling(runner, as_inbox(definition.inbox)),
        definition.patterns,
        given,
        service=service,
        inbox_keep_ms=inbox_keep_ms,
    )
    return with_process_inbox(handler, runner)
