"""Replies to requests: where they wait for the process that asked."""

from celeriac.reply.mailbox import LATE, REPLY_TO, mailbox_of, request_attributes
from celeriac.reply.stats import RequestOutcome, RequestStats, by_type
from celeriac.reply.store import ReplyStore, RequestEnd, Waited

__all__ = [
    "LATE",
    "REPLY_TO",
    "ReplyStore",
    "RequestEnd",
    "RequestOutcome",
    "RequestStats",
    "Waited",
    "by_type",
    "mailbox_of",
    "request_attributes",
]
