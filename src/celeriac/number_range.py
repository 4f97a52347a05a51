"""Whether an option is a number that every store can calculate with. Pure."""

from __future__ import annotations

from typing import Final, TypeGuard

# Ten years. Redis and JSON calculate with times in ms, which must fit in 53 bits.
MAX_SECONDS: Final = 10 * 365 * 24 * 3600
MAX_COUNT: Final = 2**31 - 1


def in_range(value: object, smallest: float, largest: float) -> TypeGuard[float]:
    """Return whether the value is an int or a float in the range. NaN and a bool are not."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and smallest <= value <= largest  # type: ignore[operator]
