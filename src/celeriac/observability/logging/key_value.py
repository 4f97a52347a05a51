"""Logs as `key=value` lines, for people and grep."""

from __future__ import annotations

import logging
from textwrap import indent

from celeriac.observability.logging.context import fields_of
from celeriac.visible import visible, visible_line

SHORT = {"event_type": "event", "event_id": "id", "correlation_id": "correlation"}


class KeyValueFormatter(logging.Formatter):
    """Formats a record as one line of `key=value`, followed by its traceback, indented.

    Control characters are replaced by visible ones.
    """

    default_msec_format = "%s.%03d"

    def __init__(self, service: str = "") -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, str | int] = {
            "time": self.formatTime(record, "%H:%M:%S"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in fields_of(record).items():
            fields[SHORT.get(name, name)] = value
        line = " ".join(
            f"{key}={_quoted(visible_line(str(value)))}" for key, value in fields.items()
        )
        if record.exc_info:
            line += f"\n{_indented(self.formatException(record.exc_info))}"
        if record.stack_info:
            line += f"\n{_indented(self.formatStack(record.stack_info))}"
        return line


def _indented(text: str) -> str:
    """Indent the further lines of a record, so that none looks like the first line of another."""
    return indent(visible(text), "  ")


def _quoted(value: str) -> str:
    if value and not any(character in value for character in ' "='):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
