"""Shared readings of the domain `order`. Entries are `1-0`, `2-0` …, and `n-0` has the number n."""

from __future__ import annotations

from celeriac.dispatcher.domain_reading import DomainReading
from celeriac.dispatcher.group_state import GroupState, ReadEntry
from celeriac.dispatcher.interest_index import InterestIndex
from celeriac.event import build_event, encode
from celeriac.event_log import Entry


def entry(number: int, type: str = "order.placed") -> Entry:
    return Entry(f"{number}-0", encode(build_event(type, None, source="s")))


def prefetch(state: GroupState, *numbers: int, size: int = 1) -> None:
    state.prefetched.extend(
        ReadEntry(n, f"{n - 1}-0", Entry(f"{n}-0", b"x" * size)) for n in numbers
    )


def reading_of(*groups: GroupState, upto: int = 10) -> DomainReading:
    """Has read entries up to this number. The groups share it, and are at its position."""
    index = InterestIndex((state.group, state.handler) for state in groups)
    reading = DomainReading("order", {}, index, f"{upto}-0", upto)
    reading.serve(groups, index)
    reading.newest.extend(f"{n}-0" for n in range(1, upto + 1))
    for state in groups:
        state.is_shared, state.position, state.count = True, reading.upto, upto
    return reading


def at(state: GroupState, number: int) -> GroupState:
    state.position, state.count = f"{number}-0", number
    return state
