"""The logs of a worker: each line that a handler writes names its event.

Apps that celeriac created get this by default. Other apps keep their logs, unless
CELERIAC_LOG_FORMAT is set. An app that configures logging itself (Celery's signal `setup_logging`)
is never changed.
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


def install_logs(settings: Settings, *, is_celeriac_app: bool) -> None:
    """Add the event to the worker's log lines. `is_celeriac_app`: celeriac created the app."""
    if not is_celeriac_app and not settings.log_format:
        return

    def after_setup(logger: logging.Logger | None = None, **_: Any) -> None:
        for handler in logger.handlers if logger is not None else ():
            if not any(isinstance(known, EventContext) for known in handler.filters):
                handler.addFilter(EventContext())
                handler.setFormatter(formatter(settings, handler.formatter))

    # A weak reference would drop the closure immediately.
    signals.after_setup_logger.connect(after_setup, weak=False)
    signals.after_setup_task_logger.connect(after_setup, weak=False)


def formatter(settings: Settings, usual: logging.Formatter | None = None) -> logging.Formatter:
    """Return the formatter of `log_format`; by default, `usual` followed by the event."""
    if settings.log_format == "json":
        return JsonFormatter(settings.service)
    if settings.log_format == "keyvalue":
        return KeyValueFormatter(settings.service)
    return SuffixFormatter(usual or logging.Formatter())
