"""Logs with the event of each line, for handlers and the code that they call."""

from celeriac.observability.logging.context import EventContext, fields_of
from celeriac.observability.logging.json_line import JsonFormatter
from celeriac.observability.logging.key_value import KeyValueFormatter
from celeriac.observability.logging.suffix import SuffixFormatter

__all__ = [
    "EventContext",
    "JsonFormatter",
    "KeyValueFormatter",
    "SuffixFormatter",
    "fields_of",
]
