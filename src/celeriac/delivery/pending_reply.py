"""Replies of a store that are requested and not read yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class PendingReply(Protocol[T_co]):
    """A reply that a store sends. `result` must be called once."""

    def result(self) -> T_co:
        """Wait for the reply and return it. Raises what the request raises."""
        ...


@dataclass(frozen=True, slots=True)
class ReceivedReply(Generic[T]):
    """A PendingReply of a store that answers before it returns."""

    value: T

    def result(self) -> T:
        return self.value
