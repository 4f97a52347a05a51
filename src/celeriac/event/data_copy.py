"""A copy of an event's data, for events that are encoded later than they were made."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

T = TypeVar("T")


def copied(data: T) -> T:
    """Return a deep copy of the data, or the data itself if it cannot be copied.

    What cannot be copied can hardly be encoded: then the error of `encode` names where it is.
    """
    try:
        return deepcopy(data)
    except Exception:
        return data
