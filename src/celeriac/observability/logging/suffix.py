"""Append the event to each line of another formatter, such as Celery's own."""

from __future__ import annotations

import logging
from copy import copy

from celeriac.observability.logging.context import fields_of
from celeriac.visible import visible, visible_line


class SuffixFormatter(logging.Formatter):
    """Appends the event to the first line that another formatter makes.

    The suffix is `[order.placed 01a2… billing.charge_card attempt 2, correlation 01a1…]`. In lines
    of celeriac, control characters are replaced by visible ones.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        if record.name.partition(".")[0] == "celeriac":
            record = self._visible(record)
        text = self.inner.format(record)
        if not fields:
            return text
        head, newline, rest = text.partition("\n")
        suffix = " ".join(str(fields.get(n, "")) for n in ("event_type", "event_id", "handler"))
        if "batch" in fields:
            suffix += f" first of {fields['batch']}"
        if fields.get("attempt", 1) != 1:
            suffix += f" attempt {fields['attempt']}"
        correlation = fields.get("correlation_id", "")
        if correlation not in ("", fields.get("event_id")):
            suffix += f" correlation {correlation}"
        return f"{head} [{visible_line(suffix)}]{newline}{rest}"

    def _visible(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return a copy, because other handlers can have formatters that need the original."""
        shown = copy(record)
        shown.msg, shown.args = visible_line(record.getMessage()), None
        if record.exc_info:
            shown.exc_text = visible(self.inner.formatException(record.exc_info))
        return shown
