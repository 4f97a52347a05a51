"""Which exceptions outside `Exception` end the process, and which are failures of a handler."""

from __future__ import annotations

import signal
import sys
from typing import Any

# How a pool process of Celery exits at a signal (billiard.common). The handler did not request it.
_EXITS_AT_SIGNAL = frozenset(number - 256 for number in signal.valid_signals())


def is_control_flow(error: BaseException) -> bool:
    """Return whether the error must propagate: it ends the process, thread or greenlet.

    A plain SystemExit does not: `sys.exit()` in a handler is a failure. Celery's own exits are
    subclasses of it, or have a signal's number. Panics of native extensions and `gevent.Timeout`
    are failures too.
    """
    if isinstance(error, BaseExceptionGroup):
        return any(is_control_flow(inner) for inner in error.exceptions)
    if type(error) is SystemExit:
        return isinstance(error.code, int) and error.code in _EXITS_AT_SIGNAL
    return isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit, *_greenlet_exits()))


def _greenlet_exits() -> tuple[type[BaseException], ...]:
    """Return the exceptions with which gevent and eventlet kill a greenlet, if one is in use."""
    greenlet = sys.modules.get("greenlet")
    return (greenlet.GreenletExit,) if greenlet is not None else ()


def is_time_limit(error: BaseException, seconds: float | None) -> bool:
    """Return whether this is the time limit of Celery's gevent pool, which Celery must handle."""
    gevent: Any = sys.modules.get("gevent")
    if seconds is None or gevent is None or not isinstance(error, gevent.Timeout):
        return False
    return getattr(error, "seconds", None) == seconds
