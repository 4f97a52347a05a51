"""The event behind each line of a formatter that knows nothing of events, such as Celery's own."""

from __future__ import annotations

import logging

from celeriac.logging.context import fields_of


class SuffixFormatter(logging.Formatter):
    """What `inner` makes of a record, and behind its first line
    `[order.placed 01a2… billing.charge_card attempt 2, correlation 01a1…]`."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        text = self.inner.format(record)
        fields = fields_of(record)
        if not fields:
            return text
        head, newline, rest = text.partition("\n")
        said = " ".join(str(fields.get(n, "")) for n in ("event_type", "event_id", "handler"))
        if "batch" in fields:
            said += f" first of {fields['batch']}"
        if fields.get("attempt", 1) != 1:
            said += f" attempt {fields['attempt']}"
        correlation = fields.get("correlation_id", "")
        if correlation not in ("", fields.get("event_id")):
            said += f" correlation {correlation}"
        return f"{head} [{said}]{newline}{rest}"
