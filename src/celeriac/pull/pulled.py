"""What a fetch returns, and how much of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from celeriac.dispatcher.chunk import Item
from celeriac.dispatcher.poll_interval import BUSY
from celeriac.pull.reference import Reference

MAX_BYTES = 4_000_000  # events of one answer, unless the first one is larger
MAX_POLL_INTERVAL = 2.0  # seconds after which a waiting request polls without a wakeup


@dataclass(frozen=True, slots=True)
class PulledDelivery:
    """A delivery that runs now. `event` is a CloudEvent as JSON. `attempt` is the fencing token.

    The lease ends at `deadline_ms` by the server's clock.
    """

    reference: Reference
    attempt: int
    deadline_ms: int
    event: bytes


@dataclass(frozen=True, slots=True)
class Pulled:
    """`next_poll` is in how many seconds there may be deliveries without a wakeup."""

    deliveries: tuple[PulledDelivery, ...] = ()
    next_poll: float = MAX_POLL_INTERVAL


@dataclass(slots=True)
class AnswerBudget:
    """How many deliveries one answer may still get, and of how many bytes."""

    remaining: int
    bytes_left: int = MAX_BYTES
    next_poll: float = MAX_POLL_INTERVAL

    def fit(self, items: Sequence[Item], bodies: dict[str, bytes]) -> int:
        """Return how many of the items still fit into the answer."""
        fitting = 0
        for item in items:
            size = len(bodies[item.entry])
            if self.remaining <= 0 or (size > self.bytes_left and self.bytes_left < MAX_BYTES):
                self.remaining = 0
                break
            self.remaining -= 1
            self.bytes_left -= size
            fitting += 1
        return fitting

    def poll_within(self, seconds: float) -> None:
        self.next_poll = min(self.next_poll, max(BUSY, seconds))
