"""What a domain in memory reports about its groups, and what must stay in its log."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from celeriac.event_log import EntryKind
from celeriac.event_log.backpressure import Backlog
from celeriac.store.memory.domain import MemoryDomain
from celeriac.store.memory.stream import MemoryChunk, MemoryGroup, PendingEntry


@pytest.fixture
def domain() -> MemoryDomain:
    """A log of the entries 1-0 to 5-0."""
    domain = MemoryDomain()
    for ms in range(1, 6):
        domain.events.append(ms, b"%d" % ms)
    return domain


def group(last: int, pending: tuple[str, ...] = (), **chunks: tuple[int, int]) -> MemoryGroup:
    return MemoryGroup(
        (last, 0),
        {entry: PendingEntry("queued:w", 0) for entry in pending},
        {id: MemoryChunk((a, 0), (b, 0), "running:w", 0) for id, (a, b) in chunks.items()},
    )


@pytest.mark.parametrize(
    ("groups", "unfinished"),
    [
        ([], None),
        ([group(5)], (5, 1)),
        ([group(0)], (0, 1)),
        ([group(5), group(3)], (3, 1)),
        ([group(5, ("2-0", "4-0"))], (2, 0)),
        ([group(5, ("4-0",), a=(2, 3))], (2, 1)),
        ([group(5, a=(3, 4), b=(1, 2))], (1, 1)),
    ],
)
def test_what_a_group_has_not_finished_stays(
    domain: MemoryDomain, groups: list[MemoryGroup], unfinished: tuple[int, int] | None
) -> None:
    domain.groups = {str(n): one for n, one in enumerate(groups)}
    assert domain.unfinished() == unfinished


@pytest.mark.parametrize(
    ("groups", "delayed", "backlog"),
    [
        ({}, 0, Backlog(0, "")),
        ({}, 2, Backlog(2, "")),
        ({"a": group(5)}, 1, Backlog(1, "")),
        ({"a": group(5), "b": group(3)}, 1, Backlog(3, "b")),
        ({"a": group(3), "b": group(4, ("1-0", "2-0"))}, 0, Backlog(3, "b")),
        ({"a": group(3), "b": group(5, a=(1, 4))}, 0, Backlog(3, "b")),
    ],
)
def test_the_backlog_is_that_of_the_slowest_handler(
    domain: MemoryDomain, groups: dict[str, MemoryGroup], delayed: int, backlog: Backlog
) -> None:
    domain.groups = groups
    domain.delayed = {f"t{n}": 9 for n in range(delayed)}
    assert domain.backlog() == backlog


def test_a_group_is_described(domain: MemoryDomain) -> None:
    info = domain.group_info("h", group(4, ("3-0",), a=(0, 2)))
    assert (info.handler, info.last_delivered, info.pending, info.lag, info.read) == (
        "h", "4-0", 3, 1, 4,
    )  # fmt: skip
    assert info.holders == {"queued:w": 1, "running:w": 2}
    assert info.oldest_pending == "1-0"
    [chunk] = info.chunks
    assert (chunk.id, chunk.after, chunk.upto, chunk.count) == ("a", "0-0", "2-0", 2)
    domain.events.trim_before((3, 0))
    info = domain.group_info("h", group(4))
    assert (info.read, info.pending, info.oldest_pending) == (4, 0, None)


def test_trimmed_entries_keep_no_kind(domain: MemoryDomain) -> None:
    domain.kinds = {"1-0": EntryKind.MADE, "4-0": EntryKind.GIVEN}
    assert domain.trim_before((1, 0)) == 0
    assert len(domain.kinds) == 2
    assert domain.trim_before((3, 0)) == 2
    assert domain.kinds == {"4-0": EntryKind.GIVEN}


@pytest.mark.parametrize(
    ("kind", "ambiguous", "may_repeat"),
    [
        (EntryKind.MADE, False, False),
        (EntryKind.GIVEN, False, False),
        (EntryKind.MADE, True, True),
        (EntryKind.FOREIGN, False, True),
        (EntryKind.REDRIVEN, False, True),
    ],
)
def test_which_entries_may_repeat_an_event(
    domain: MemoryDomain, kind: EntryKind, ambiguous: bool, may_repeat: bool
) -> None:
    if kind is not EntryKind.FOREIGN:
        domain.kinds["2-0"] = kind
    if ambiguous:
        domain.ids.note_ambiguous(2, 2)
    assert domain.may_repeat("2-0", b"") is may_repeat
    assert domain.entry("2-0", b"body").kind is kind


def test_delayed_events_are_in_the_order_of_time_and_body(domain: MemoryDomain) -> None:
    domain.delayed = {"token": 5, b"b": 5, b"c": 3, b"z": 9}
    domain.delayed_events = {"token": b"a"}
    domain.at_time_of_day = {"token", b"z"}
    assert domain.upcoming() == [(3, b"c"), (5, "token"), (5, b"b"), (9, b"z")]
    assert domain.upcoming(until_ms=5) == [(3, b"c"), (5, "token"), (5, b"b")]
    assert domain.remove_delayed("token") == b"a"
    assert domain.remove_delayed("token") is None
    assert domain.remove_delayed(b"c") == b"c"
    assert (domain.delayed, domain.delayed_events) == ({b"b": 5, b"z": 9}, {})
    assert domain.at_time_of_day == {b"z"}


def test_only_the_dead_letter_of_the_handler_and_entry_is_removed(domain: MemoryDomain) -> None:
    for handler, entry in (("a", "1-0"), ("a", "2-0"), ("b", "1-0")):
        domain.dead.append(1, SimpleNamespace(handler=handler, entry=entry))
    domain.remove_dead_letter("a", "1-0")
    kept = [(one.handler, one.entry) for _, one in domain.dead.range("-", "+")]
    assert kept == [("a", "2-0"), ("b", "1-0")]


def test_the_counts_of_a_domain(domain: MemoryDomain) -> None:
    domain.events.trim_before((3, 0))
    domain.delayed = {"t": 1}
    domain.emitted["order.placed"] = 7
    stats = domain.stream_stats("order")
    assert (stats.domain, stats.length, stats.appended, stats.delayed) == ("order", 3, 5, 1)
    assert (stats.emitted, stats.newest) == ({"order.placed": 7}, "5-0")
