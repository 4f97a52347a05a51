"""Replies to requests: where they wait for the process that asked."""

from celeriac.reply.mailbox import LATE, REPLY_TO, mailbox_of, request_attributes
from celeriac.reply.store import ReplyStore, Waited

__all__ = ["LATE", "REPLY_TO", "ReplyStore", "Waited", "mailbox_of", "request_attributes"]
