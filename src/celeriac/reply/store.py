"""Where replies wait until the process that asked reads them."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Waited(NamedTuple):
    """Replies in their order, and the position after them, for the next wait."""

    bodies: list[bytes]
    position: str


START = "0-1"  # the entry that makes a mailbox


class ReplyStore(Protocol):
    """The mailboxes of requests under way. Raises redis.RedisError.

    A mailbox exists from `open` to `close`, at most for the time that `open` gives it. The
    asynchronous methods never block the event loop.
    """

    def monotonic(self) -> float:
        """Return a time in seconds that passes while `wait` waits."""
        ...

    def open(self, mailbox: str, ttl_ms: int) -> None:
        """Create the mailbox. Idempotent."""
        ...

    def is_open(self, mailbox: str) -> bool:
        """Return whether the mailbox exists."""
        ...

    def push(self, mailbox: str, body: bytes) -> bool:
        """Add a reply if the mailbox exists; return whether it does. Atomic."""
        ...

    def wait(self, mailbox: str, position: str, seconds: float) -> Waited:
        """Return the replies after the position; wait at most `seconds` for the first of them.

        May return earlier without a reply. A call that failed can be repeated.
        """
        ...

    def close(self, mailbox: str, position: str) -> list[bytes]:
        """Remove the mailbox; return the replies after the position. Atomic."""
        ...

    async def aopen(self, mailbox: str, ttl_ms: int) -> None: ...

    async def await_replies(self, mailbox: str, position: str, seconds: float) -> Waited: ...

    async def aclose(self, mailbox: str, position: str) -> list[bytes]: ...

    async def disconnect(self) -> None:
        """Close the connections of the running event loop. Idempotent."""
        ...
