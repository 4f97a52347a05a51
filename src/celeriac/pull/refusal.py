"""The errors that a client receives, each with its HTTP status and a code for programs."""

from __future__ import annotations


class PullRefused(Exception):
    """A request that changed nothing. `code` is part of the protocol, `str()` is for people."""

    status = 400
    code = "invalid"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Invalid(PullRefused):
    """The request is not valid. `field` names its wrong member, if it is one."""


class UnknownHandler(PullRefused):
    """No such handler was registered."""

    status, code = 404, "unknown_handler"


class LimitReached(PullRefused):
    """The service has no room for another handler, or the bus for another domain."""

    status, code = 403, "limit"


class NotPulled(PullRefused):
    """The handler belongs to workers."""

    status, code = 409, "not_pulled"


class LeaseLost(PullRefused):
    """The attempt has ended: its lease expired, or it was completed."""

    status, code = 409, "lease_lost"


class HandlerRemoved(PullRefused):
    """The handler was removed, by a client or an operator."""

    status, code = 410, "removed"
