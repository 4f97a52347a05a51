"""What a dispatcher does with the deliveries that it fetched one by one."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from celeriac.delivery import Completion, Delivery, FetchResult, Outcome
from celeriac.dispatcher.group_state import NEVER, UNKNOWN, GroupState
from celeriac.dispatcher.group_table import poll_at
from celeriac.dispatcher.pending import WORKERS_INTERVAL, PendingDeliveries
from celeriac.dispatcher.poll_interval import BUSY, until_share, until_slots
from celeriac.dispatcher.process_share import REQUEUE_FOR_OTHERS_MS
from celeriac.dispatcher.task_sender import TASKS_AHEAD, note_sent
from celeriac.event import build_event, encode
from tests.unit.dispatcher.parts import POLL_INTERVAL, Parts

NOW = 100.0
SLOW = 10_000_000


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Without jitter."""
    monkeypatch.setattr("celeriac.dispatcher.group_table.random.uniform", lambda least, most: most)
    return Parts()


@pytest.fixture
def pending(parts: Parts) -> PendingDeliveries:
    made = PendingDeliveries(parts.context, parts.service)
    made.reclaim_from = NOW + 1000
    return made


def delivery(number: int, attempts: int = 0, type: str = "order.placed", **more: Any) -> Delivery:
    body = encode(build_event(type, None, source="shop", id=f"e{number}"))
    return Delivery(f"{number}-0", body, attempts, **more)


def fetch(
    parts: Parts,
    pending: PendingDeliveries,
    state: GroupState,
    *deliveries: Delivery,
    is_fetched: bool = False,
    **more: Any,
) -> None:
    """Fetch these deliveries for the group, and send their tasks."""
    state.pending_at = NOW
    given: dict[str, Any] = {"mean_us": state.mean_us, "now_ms": 1000, **more}
    parts.deliveries.results = {state.group: FetchResult(deliveries, **given)}
    pending.fetch(NOW, [state], {state.group} if is_fetched else set())
    parts.tasks.flush()
    pending.skip()


def sent(parts: Parts) -> list[list[str]]:
    return [[item.entry for item in chunk.items] for chunk in parts.sent]


def skipped(parts: Parts) -> list[tuple[str, Outcome, int]]:
    """(entry, outcome, delay) of each delivery that does not run."""
    return [
        (one.entry, one.outcome, one.delay_ms)
        for _, completions in parts.deliveries.skipped
        for one in completions
    ]


def test_wanted_deliveries_are_sent_and_the_others_are_completed_once(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    fetch(parts, pending, state, delivery(1), delivery(2, type="order.paid"), queued=3)
    assert ([["1-0"]], [("2-0", Outcome.IGNORED, 0)]) == (sent(parts), skipped(parts))
    assert (5, False) == (state.queued, parts.sent[0].stays)
    parts.deliveries.skipped.clear()
    pending.skip()
    assert [] == parts.deliveries.skipped


def test_a_group_that_is_gone_is_joined_again(parts: Parts, pending: PendingDeliveries) -> None:
    state = parts.group()
    fetch(parts, pending, state, removed=True)
    assert [state.group] == parts.members.joined_again


def test_the_result_of_a_group_that_was_dropped_by_another_result_is_ignored(
    parts: Parts, pending: PendingDeliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, also_gone = parts.group("order"), parts.group("payment")
    results = FetchResult(removed=True), FetchResult((delivery(1),))
    parts.deliveries.results = {gone.group: results[0], also_gone.group: results[1]}
    monkeypatch.setattr(parts.members, "join_again", lambda _: parts.groups.keep(()))
    pending.fetch(NOW, [gone, also_gone], ())
    parts.tasks.flush()
    assert [] == sent(parts)


def test_the_patterns_in_force_are_applied_before_deliveries_are_filtered(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    body = delivery(1, type="order.amended")
    fetch(parts, pending, state, body, patterns=("*.placed", "order.amended"))
    assert ("*.placed", "order.amended") == state.in_force
    [(entry, outcome, _)] = skipped(parts)
    assert ("1-0", Outcome.REQUEUED) == (entry, outcome)


def test_a_group_that_is_left_to_others_is_polled_when_the_workers_are_read_again(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    parts.members.left.add(state.group)
    fetch(parts, pending, state)
    assert NOW + WORKERS_INTERVAL == state.poll_at


def test_what_waits_of_a_handler_that_has_become_slow_is_requeued_before_more_is_sent(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    parts.group("order", "fast")
    fetch(parts, pending, state, delivery(1), mean_us=SLOW)
    assert ([state.group], [], NOW) == (parts.requeued, sent(parts), state.poll_at)


def test_waiting_tasks_are_counted_by_what_the_store_has_queued(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    for _ in range(3):
        note_sent(state, 1)
    fetch(parts, pending, state, queued=1)
    assert 1 == state.of.waiting_tasks


# -- invalid and lost entries


def test_an_entry_that_is_no_event_is_dead_lettered_and_a_deleted_one_is_reported(
    parts: Parts, pending: PendingDeliveries, caplog: pytest.LogCaptureFixture
) -> None:
    state = parts.group()
    caplog.set_level(logging.ERROR)
    fetch(parts, pending, state, Delivery("1-0", b"{}", 0), Delivery("2-0", None, 0), delivery(3))
    assert ([(state.group, "1-0")], [["3-0"]]) == (parts.deliveries.invalid, sent(parts))
    assert "entry 1-0 of order is not a valid event" in caplog.text
    assert "entry 2-0 was deleted outside celeriac" in caplog.text


# -- limits


def test_deliveries_over_the_rate_are_requeued_one_after_the_other(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group(rate_limit="1/s")
    parts.deliveries.granted = 1
    fetch(parts, pending, state, *[delivery(n) for n in (1, 2, 3)])
    requeued = [("2-0", Outcome.REQUEUED, 40), ("3-0", Outcome.REQUEUED, 1040)]
    assert ([["1-0"]], requeued) == (sent(parts), skipped(parts))


def test_of_deliveries_that_were_begun_before_as_many_are_sent_as_tasks_may_wait(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    for _ in range(2 * TASKS_AHEAD - 2):
        note_sent(state, 1)
    state.has_begun = False
    queued = 2 * TASKS_AHEAD - 2
    fetch(parts, pending, state, *[delivery(n, n % 2) for n in range(1, 8)], queued=queued)
    assert [["1-0"], ["3-0"], ["2-0", "4-0"], ["6-0"]] == sent(parts)
    assert [("5-0", Outcome.REQUEUED, 0), ("7-0", Outcome.REQUEUED, 0)] == skipped(parts)
    assert state.has_begun
    fetch(parts, pending, state, delivery(8), queued=queued)
    assert not state.has_begun


def test_no_begun_delivery_is_sent_if_too_many_tasks_wait(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    waiting = 2 * TASKS_AHEAD + 1
    for _ in range(waiting):
        note_sent(state, 1)
    fetch(parts, pending, state, delivery(1, 1), delivery(2, 1), queued=waiting)
    assert ([], ["1-0", "2-0"]) == (sent(parts), [entry for entry, _, _ in skipped(parts)])


def test_deliveries_without_a_slot_are_left_to_other_workers(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group(concurrency=2)
    fetch(parts, pending, state, *[delivery(n) for n in (1, 2, 3)])
    assert [["1-0"], ["2-0"]] == [[entry] for chunk in sent(parts) for entry in chunk]
    assert [("3-0", Outcome.REQUEUED, REQUEUE_FOR_OTHERS_MS)] == skipped(parts)
    assert (2, 2) == (state.in_flight.everywhere, state.in_flight.here)


def test_a_delivery_of_a_slow_handler_stays_in_this_worker(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group(mean_us=SLOW)
    parts.group("order", "fast")
    fetch(parts, pending, state, delivery(1))
    assert [True] == [chunk.stays for chunk in parts.sent]


def test_a_delivery_whose_workers_died_repeatedly_waits(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    fetch(parts, pending, state, delivery(1, 5, lost_runs=5), delivery(2))
    assert [["2-0"]] == sent(parts)
    assert [("1-0", Outcome.REQUEUED)] == [one[:2] for one in skipped(parts)]


@pytest.mark.parametrize(
    ("deliveries", "queued", "sizes"),
    [
        # Fewer than requested: spread over two processes. As many: there is a backlog.
        (100, 0, [50, 50]),
        (200, 0, [50, 50, 50, 50]),
        (60, 140, [50, 10]),
        (60, 139, [30, 30]),
    ],
)
def test_deliveries_are_spread_over_the_processes_unless_there_is_a_backlog(
    parts: Parts, pending: PendingDeliveries, deliveries: int, queued: int, sizes: list[int]
) -> None:
    state = parts.group()
    fetch(parts, pending, state, *[delivery(n) for n in range(deliveries)], queued=queued)
    assert sizes == [len(chunk.items) for chunk in parts.sent]


# -- the next poll


@pytest.mark.parametrize(
    ("deliveries", "due_ms", "at"),
    [(0, 1500, NOW + 0.5), (0, None, NEVER), (1, None, NEVER), (200, None, NOW + BUSY)],
)
def test_where_new_deliveries_arrive_in_chunks_pending_ones_are_fetched_when_due(
    parts: Parts, pending: PendingDeliveries, deliveries: int, due_ms: int | None, at: float
) -> None:
    state = parts.group()
    poll_at(state, NOW - 1)
    given = [delivery(n) for n in range(deliveries)]
    fetch(parts, pending, state, *given, is_fetched=True, next_due_ms=due_ms)
    assert (at, NOW - 1) == (state.pending_at, state.poll_at)


@pytest.mark.parametrize(
    ("deliveries", "more", "at"),
    [
        (0, {"next_due_ms": 1500}, NOW + 0.5),
        (0, {"next_due_ms": 90_000}, NOW + POLL_INTERVAL),
        (0, {"next_due_ms": 1500, "queued": 199}, NOW + 0.5),
        (200, {}, NOW + until_slots(200_000, 2)),
        (1, {"in_flight": 2}, NOW + until_share(1000)),
    ],
)
def test_a_group_is_polled_when_something_is_expected(
    parts: Parts, pending: PendingDeliveries, deliveries: int, more: dict[str, Any], at: float
) -> None:
    state = parts.group(concurrency=3 if "in_flight" in more else None)
    fetch(parts, pending, state, *[delivery(n) for n in range(deliveries)], **more)
    assert (at, NEVER) == (state.poll_at, state.idle_until)


def test_new_entries_of_a_shared_domain_are_not_expected(
    parts: Parts, pending: PendingDeliveries
) -> None:
    """No new ones were requested: without any there may still be a backlog."""
    state = parts.group()
    state.is_shared = True
    fetch(parts, pending, state)
    assert (NEVER, NEVER) == (state.poll_at, state.idle_until)


@pytest.mark.parametrize(
    ("deliveries", "in_flight", "seconds"),
    [(0, 0, 5.0), (1, 0, POLL_INTERVAL), (0, 1, POLL_INTERVAL)],
)
def test_an_idle_group_is_polled_sooner_if_a_lease_may_expire(
    parts: Parts, pending: PendingDeliveries, deliveries: int, in_flight: int, seconds: float
) -> None:
    state = parts.group()
    for n in range(499):
        parts.group(f"d{n}")
    fetch(parts, pending, state, *[delivery(n) for n in range(deliveries)], in_flight=in_flight)
    assert (NEVER, NOW + seconds) == (state.poll_at, state.idle_until)


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("may_share", [True, False])
def test_a_group_at_the_end_of_a_shared_domain_shares_its_reading(
    parts: Parts, pending: PendingDeliveries, reads: bool, at_end: bool, may_share: bool
) -> None:
    state = parts.group()
    state.position = "5-0"
    parts.reader.domains = {"order"} if reads else {"payment"}
    parts.members.separate = set() if may_share else {state.group}
    fetch(parts, pending, state, is_at_end=at_end)
    shares = reads and at_end and may_share
    assert ([([state.group], True)] if shares else []) == parts.reader.fetched
    assert (UNKNOWN if shares else "5-0") == state.position


def test_the_sources_of_events_that_get_a_row_are_recorded(
    parts: Parts, pending: PendingDeliveries
) -> None:
    fetch(parts, pending, parts.group(), delivery(1), delivery(2, type="order.paid"))
    deliveries: Any = parts.deliveries
    parts.context.sources.flush(deliveries)
    assert {"order": {"shop": 1}} == parts.deliveries.sources


def test_the_completions_are_those_of_the_group(parts: Parts, pending: PendingDeliveries) -> None:
    state = parts.group()
    fetch(parts, pending, state, delivery(1, type="order.paid"))
    [(group, [completion])] = parts.deliveries.skipped
    assert isinstance(completion, Completion)
    assert (state.group, "order.paid") == (group, completion.type)
