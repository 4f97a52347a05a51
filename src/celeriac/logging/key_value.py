"""Logs as `key=value` lines: for people, and for grep."""

from __future__ import annotations

import logging

from celeriac.logging.context import fields_of

SHORT = {"event_type": "event", "event_id": "id", "correlation_id": "correlation"}


class KeyValueFormatter(logging.Formatter):
    """One line a record, and one more for each line of its traceback."""

    default_msec_format = "%s.%03d"

    def __init__(self, service: str = "") -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, str | int] = {
            "at": self.formatTime(record, "%H:%M:%S"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "say": " ".join(record.getMessage().splitlines()),
        }
        for name, value in fields_of(record).items():
            fields[SHORT.get(name, name)] = value
        line = " ".join(f"{key}={_quoted(str(value))}" for key, value in fields.items())
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return f"{line}\n{self.formatStack(record.stack_info)}" if record.stack_info else line


def _quoted(value: str) -> str:
    if value and not any(character in value for character in ' "='):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
