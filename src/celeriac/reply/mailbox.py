"""The extension attributes of requests and replies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from celeriac.event import Event

REPLY_TO = "replyto"  # of a request: the name of its mailbox
LATE = "late"  # of a reply: true if the request had ended

# A name becomes part of a key in Redis.
_NAME = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)


def mailbox_of(event: Event[Any]) -> str | None:
    """Return the mailbox for replies to the event; None if it is no request."""
    name = event.extensions.get(REPLY_TO)
    return name if isinstance(name, str) and _NAME.fullmatch(name) else None


def request_attributes(mailbox: str, extensions: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the extension attributes of a request."""
    return {**(extensions or {}), REPLY_TO: mailbox}
