"""Logs that say which event a line belongs to: for handlers, and for what they call."""

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
