"""Logs as `key=value` lines. Within a handler each line names the event and what it belongs to."""

from __future__ import annotations

import logging
import sys
from typing import Any

from celery.signals import setup_logging

from celeriac import current_event


class KeyValueFormatter(logging.Formatter):
    """One line a record, and one more for each line of its traceback."""

    default_msec_format = "%s.%03d"

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": self.formatTime(record, "%H:%M:%S"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "say": record.getMessage().replace("\n", " "),
        }
        event = current_event()
        if event is not None:
            fields["event"] = event.type
            fields["id"] = event.id
            fields["correlation"] = event.correlationid or event.id
        line = " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _quoted(value: str) -> str:
    if value and not any(character in value for character in ' "='):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def install(service: str) -> None:
    """Sets up the logs of Celery's commands, in place of Celery's own."""

    def configure(loglevel: int = logging.INFO, logfile: str | None = None, **_: Any) -> None:
        handler = logging.FileHandler(logfile) if logfile else logging.StreamHandler(sys.stderr)
        handler.setFormatter(KeyValueFormatter(service))
        logging.basicConfig(level=min(loglevel, logging.INFO), handlers=[handler], force=True)

    setup_logging.connect(configure, weak=False)
