"""The logs of a worker: each line that a handler writes names its event.

An app that celeriac made gets it by itself. Of another app nothing is changed, unless
CELERIAC_LOG_FORMAT asks for it; and who sets up logs himself (Celery's signal `setup_logging`)
is not interfered with at all.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import signals

from celeriac.observability.logging import (
    EventContext,
    JsonFormatter,
    KeyValueFormatter,
    SuffixFormatter,
)
from celeriac.settings import Settings


def install_logs(settings: Settings, *, own: bool) -> None:
    """`own`: the app is one that celeriac made."""
    if not own and not settings.log_format:
        return

    def after_setup(logger: logging.Logger | None = None, **_: Any) -> None:
        for handler in logger.handlers if logger is not None else ():
            if not any(isinstance(there, EventContext) for there in handler.filters):
                handler.addFilter(EventContext())
                handler.setFormatter(formatter(settings, handler.formatter))

    # Weak references would let the closure go at once.
    signals.after_setup_logger.connect(after_setup, weak=False)
    signals.after_setup_task_logger.connect(after_setup, weak=False)


def formatter(settings: Settings, usual: logging.Formatter | None = None) -> logging.Formatter:
    """The one that `log_format` names; where it names none, `usual` with the event behind it."""
    if settings.log_format == "json":
        return JsonFormatter(settings.service)
    if settings.log_format == "keyvalue":
        return KeyValueFormatter(settings.service)
    return SuffixFormatter(usual or logging.Formatter())
