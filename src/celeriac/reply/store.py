"""Where replies wait until the process that asked reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from celeriac.reply.stats import RequestOutcome, RequestStats


class Waited(NamedTuple):
    """Replies in their order, and the position after them, for the next wait."""

    bodies: list[bytes]
    position: str


class RequestEnd(NamedTuple):
    """How a request ended; `took_us` is the time until its last reply."""

    mailbox: str
    type: str
    outcome: RequestOutcome
    took_us: int = 0


START = "0-1"  # the entry that makes a mailbox


class ReplyStore(Protocol):
    """The mailboxes of requests under way. Raises redis.RedisError.

    A mailbox exists from `open` to `close`, at most for the time that `open` gives it. The
    asynchronous methods never block the event loop.
    """

    def monotonic(self) -> float:
        """Return a time in seconds that passes while `wait` waits."""
        ...

    def open(self, mailbox: str, type: str, ttl_ms: int) -> None:
        """Create the mailbox of a request of this type, and count the request. Idempotent."""
        ...

    def is_open(self, mailbox: str) -> bool:
        """Return whether the mailbox exists."""
        ...

    def push(self, mailbox: str, body: bytes, type: str) -> bool:
        """Add a reply if the mailbox exists; return whether it does. Atomic.

        Otherwise the reply is counted as late, for the type of the request.
        """
        ...

    def wait(self, mailbox: str, position: str, seconds: float) -> Waited:
        """Return the replies after the position; wait at most `seconds` for the first of them.

        May return earlier without a reply. A call that failed can be repeated.
        """
        ...

    def close(self, mailbox: str, position: str) -> list[bytes]:
        """Remove the mailbox; return the replies after the position. Atomic."""
        ...

    def count_end(self, end: RequestEnd) -> None:
        """Count the end of a request. Idempotent. Never raises: it is a statistic."""
        ...

    def stats(self) -> Mapping[str, RequestStats]:
        """Return the statistics by the type of the request, `other` for types above the limit."""
        ...

    async def aopen(self, mailbox: str, type: str, ttl_ms: int) -> None: ...

    async def await_replies(self, mailbox: str, position: str, seconds: float) -> Waited: ...

    async def aclose(self, mailbox: str, position: str) -> list[bytes]: ...

    async def acount_end(self, end: RequestEnd) -> None: ...

    async def disconnect(self) -> None:
        """Close the connections of the running event loop. Idempotent."""
        ...
