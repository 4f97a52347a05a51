"""Logs that say which event a line belongs to: for handlers, and for what they call."""

from celeriac.logging.context import EventContext, fields_of
from celeriac.logging.json_line import JsonFormatter
from celeriac.logging.key_value import KeyValueFormatter
from celeriac.logging.suffix import SuffixFormatter

__all__ = [
    "EventContext",
    "JsonFormatter",
    "KeyValueFormatter",
    "SuffixFormatter",
    "fields_of",
]
