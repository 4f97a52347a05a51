"""The inbox: a handler's effects and the record of its event, in one transaction."""

from celeriac.inbox.django import DjangoInbox
from celeriac.inbox.receiver import IdempotentReceiver, Inbox
from celeriac.inbox.session import current_session
from celeriac.inbox.sql import as_inbox
from celeriac.inbox.table import create_inbox, inbox_table

__all__ = [
    "DjangoInbox",
    "IdempotentReceiver",
    "Inbox",
    "as_inbox",
    "create_inbox",
    "current_session",
    "inbox_table",
]
