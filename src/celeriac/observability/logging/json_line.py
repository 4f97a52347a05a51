"""Logs as JSON, one object per line."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from celeriac.observability.logging.context import FIELDS, fields_of
from celeriac.visible import visible_json

# Attributes of every record, and those that a filter can add.
_KNOWN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message", "asctime", "taskName", *FIELDS,
}  # fmt: skip
_encoder = msgspec.json.Encoder(enc_hook=repr)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON.

    The members are `time` (ISO 8601, UTC), `level`, `service`, `logger`, `message`, the fields of
    the event, the fields of `extra=`, and `error` with `traceback`. A value without a JSON form is
    shown by its repr. Control characters are escaped.
    """

    def __init__(self, service: str = "") -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.processName:
            line["process"] = record.processName
        for name, value in record.__dict__.items():
            if name not in _KNOWN:
                line.setdefault(name, value)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = f"{type(error).__qualname__}: {error}"
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return visible_json(_json(line))


def _json(line: dict[str, object]) -> str:
    try:
        return _encoder.encode(line).decode()
    except Exception:
        # a key that is not text, a lone surrogate, a repr that fails: the line is still written
        plain = {str(name): _text(value) for name, value in line.items()}
        return _encoder.encode(plain).decode()


def _text(value: object) -> str:
    try:
        return str(value).encode(errors="backslashreplace").decode()
    except Exception:
        return f"({type(value).__qualname__} has no repr)"
