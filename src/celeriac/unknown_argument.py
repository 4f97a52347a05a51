"""What to use instead of an unknown argument, such as one of Celery's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

# Arguments of Celery's `task` decorator.
OF_TASK: Mapping[str, str] = {
    "acks_late": "Leave it out: a delivery is acknowledged after its handler",
    "autoretry_for": "Leave it out: every exception is retried. Exclude some with on_error=",
    "bind": "Leave it out, and call current_event() and current_attempt() in the handler",
    "default_retry_delay": "Use backoff=, in seconds",
    "ignore_result": "Leave it out: a handler has no result",
    "max_retries": "Use retries=",
    "retry_backoff": "Use backoff=, in seconds",
    "retry_backoff_max": "Use max_backoff=, in seconds",
    "retry_jitter": "Use jitter=",
    "throws": "Use on_error={Exception: None} to dead-letter at once",
}
# Arguments of Celery's `apply_async`.
OF_CALL: Mapping[str, str] = {
    "args": "Pass the data as the second argument",
    "countdown": "Use delay=, in seconds",
    "eta": "Use at=",
    "expires": "Leave it out: an event is kept for `retention`",
    "headers": "Use extensions=",
    "kwargs": "Pass the data as the second argument",
    "priority": "Set it in the handler: @bus.on(…, priority=)",
    "queue": "Set it in the handler: @bus.on(…, queue=)",
    "task_id": "Use id=",
}


def refusal_of(
    call: str, unknown: Iterable[str], known: Iterable[str], of_celery: Mapping[str, str]
) -> str:
    """Return the text of an error that names the first unknown argument, and what to use."""
    name = min(unknown)
    names = sorted(known)
    remedy = of_celery.get(name)
    if remedy is None:
        close = get_close_matches(name, names, n=1)
        remedy = f"Did you mean {close[0]}=?" if close else f"Its arguments are {', '.join(names)}"
    return f"{call} has no argument {name!r}. {remedy}"
