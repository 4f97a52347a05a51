"""Replies of the server to the delivery store, and what follows for the other groups."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from celeriac.delivery import Completion, FetchRequest, FetchResult, FlowControl, Group, Outcome
from celeriac.flow_control import MAX_BLOCKED
from celeriac.settings import Settings
from celeriac.store.redis.deliveries import RedisDeliveryStore, as_mapping
from celeriac.store.redis.delivery_script import pack_flow
from celeriac.store.redis.event_log import RedisEventLog
from tests.unit.store.redis.scripted_server import ScriptedServer

A, B = Group("a", "billing.charge"), Group("b", "billing.charge")
AWAY = redis.ConnectionError("away")
NO_GROUP = ResponseError("NOGROUP No such consumer group")
WRONG_TYPE = ResponseError("WRONGTYPE Operation against a key")
WRONG_CLOCK = ResponseError("CLOCK no key of this minute")
OTHER = ResponseError("ERR other")
STATE = [3, 0, 7, b"a.b", 2, [], 5, 1, 1]  # what fetch.lua returns
NOTHING = FetchResult(
    queued=3, now_ms=5, mean_us=7, patterns=("a.b",), in_flight=2, in_flight_here=1, is_at_end=True
)


def answering(*answers: list[Any], **given: Any) -> RedisDeliveryStore:
    deliveries = RedisDeliveryStore(Settings.load({}, **given), ScriptedServer(*answers))
    deliveries.clock.note(5)
    return deliveries


@pytest.mark.parametrize(
    ("answer", "fetched"),
    [
        (STATE, NOTHING),
        (NO_GROUP, FetchResult(removed=True)),
        (WRONG_TYPE, FetchResult()),
        (AWAY, FetchResult()),
    ],
)
def test_the_other_groups_are_fetched(answer: Any, fetched: FetchResult) -> None:
    deliveries = answering([answer, STATE])
    assert [fetched, NOTHING] == deliveries.fetch("w1", [FetchRequest(g, 9) for g in (A, B)])


@pytest.mark.parametrize("answers", [[AWAY, AWAY], [OTHER, STATE], [STATE, OTHER]])
def test_without_any_reply_or_with_another_error_nothing_is_fetched(answers: list[Any]) -> None:
    with pytest.raises(redis.RedisError):
        answering(answers).fetch("w1", [FetchRequest(A, 9), FetchRequest(B, 9)])


def test_a_fetched_delivery_has_all_that_the_script_returns() -> None:
    delivery = [b"1-1", b"{}", 2, 1, b"2-1", b"redriven"]
    [fetched] = answering([[0, 9, 0, b"", 0, [delivery], 5, 0, 0]]).fetch(
        "w1", [FetchRequest(A, 9)]
    )
    [one] = fetched.deliveries
    assert ("1-1", b"{}", 2, 1) == (one.entry, one.body, one.attempts, one.lost_runs)
    assert (9, False) == (fetched.next_due_ms, fetched.is_at_end)
    assert [] == answering().fetch("w1", [])


LIMITS = FlowControl(concurrency=2)


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (FetchRequest(A, 9, max_new=3), [9, 30_000, 0, b"", 0, 3, "", 1]),
        (
            FetchRequest(
                Group("a", A.handler, LIMITS), 9, reclaim=True, max_new=3, max_in_flight=0,
                lease_ms=0, scheduled_first=False,
            ),
            [9, 0, 1, pack_flow(LIMITS), MAX_BLOCKED, 3, 0, 0],
        ),
    ],
)  # fmt: skip
def test_a_request_is_sent_with_its_limits(request_: FetchRequest, sent: list[Any]) -> None:
    deliveries = answering([STATE], lease=30.0)
    deliveries.fetch("w1", [request_])
    [command] = deliveries.client.sent
    assert [A.handler, "queued:w1", *sent] == list(command[3 + command[2] :])


SKIPPED = [Completion("1-1", "k", 0, Outcome.SKIPPED)]
BOTH = [(A, SKIPPED), (B, SKIPPED)]


@pytest.mark.parametrize("answers", [[[], []], [NO_GROUP, []], [[b"1-1"], NO_GROUP]])
def test_deliveries_are_skipped_for_each_group_that_is_there(answers: list[Any]) -> None:
    deliveries = answering(answers)
    deliveries.skip_many("w1", BOTH)
    assert 2 == len(deliveries.client.sent)


@pytest.mark.parametrize("answers", [[OTHER, []], [[], AWAY]])
def test_another_error_of_skipping_is_raised(answers: list[Any]) -> None:
    with pytest.raises(redis.RedisError):
        answering(answers).skip_many("w1", BOTH)


def test_deliveries_are_skipped_again_with_the_right_clock() -> None:
    deliveries = answering([[], WRONG_CLOCK], [[]])
    deliveries.skip_many("w1", BOTH)
    *_, again = deliveries.client.sent
    assert 3 == len(deliveries.client.sent)
    assert deliveries.keys.counters("b", B.handler, 1000 // 60) in again
    answering().skip_many("w1", [])


def test_skipping_counts_no_run_time(settings: Settings) -> None:
    event_log, deliveries = RedisEventLog(settings), RedisDeliveryStore(settings)
    event_log.join("a", A.handler, "0")
    for _ in range(3):
        event_log.append("a", b"{}")

    def fetched() -> list[Completion]:
        [taken] = deliveries.fetch("w1", [FetchRequest(A, 1)])
        return [Completion(d.entry, d.entry, 0, Outcome.SKIPPED) for d in taken.deliveries]

    assert [] == deliveries.skip("w1", A, fetched())
    deliveries.skip_many("w1", [(A, fetched())])
    deliveries.clock.note(5)  # far from the server's
    deliveries.skip_many("w1", [(A, fetched())])
    stats = deliveries.stats(A)
    assert (3, None) == (stats["skipped"], stats.get("mean_us"))


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        ([[b"name", b"b.c", b"consumers", 1, b"pending", 3, b"lag", 0]], {"b.c": 3}),
        ([{b"name": b"b.c", b"pending": 3}, {b"name": b"b.d", b"pending": 0}],
         {"b.c": 3, "b.d": 0}),
        ([], {}),
        (ResponseError("ERR no such key"), {}),
        (OTHER, None),
        (AWAY, None),
    ],
)  # fmt: skip
def test_pending_deliveries_are_counted_by_group_or_unknown(answer: Any, counts: Any) -> None:
    assert [counts, {}] == answering([answer, []]).pending_counts(["a", "b"])
    assert [] == answering().pending_counts([])


def test_a_map_is_read_in_both_protocols() -> None:
    expected = {b"a": 1, b"b": 2, b"c": 3}
    assert expected == as_mapping([b"a", 1, b"b", 2, b"c", 3]) == as_mapping(expected)


@pytest.mark.parametrize("answer", [NO_GROUP, [b"1-1"]])
def test_a_lost_lease_is_returned(answer: Any) -> None:
    assert ["1-1"] == answering([answer]).renew("w1", A, [("1-1", 1)])
    assert ["1-1"] == answering([answer]).complete("w1", A, SKIPPED)
    assert [] == answering().complete("w1", A, [])


@pytest.mark.parametrize(("answer", "count"), [(NO_GROUP, 0), (0, 0), (3, 3)])
def test_requeued_deliveries_are_counted(answer: Any, count: int) -> None:
    assert count == answering([answer]).requeue("w1", A)
    assert bool(count) is answering([answer]).dead_letter_invalid("w1", A, "1-1", "no event")
