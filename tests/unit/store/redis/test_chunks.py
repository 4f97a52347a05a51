"""Replies about chunks that are errors, and what follows for the other groups and exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis
from redis.exceptions import NoScriptError, ResponseError

from celeriac.delivery import Completion, Failure, Group, Outcome
from celeriac.delivery.advance import Advance, Advanced
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest, Fetched
from celeriac.event_log import Entry
from celeriac.settings import Settings
from celeriac.store.redis import chunks as module
from celeriac.store.redis.chunks import MAX_GROUPS, RedisChunks, batched
from celeriac.store.redis.deliveries import RedisDeliveryStore
from celeriac.store.redis.event_log import RedisEventLog
from tests.unit.store.redis.scripted_server import ScriptedServer

A, B = Group("a", "billing.charge"), Group("b", "billing.charge")
AWAY = redis.ConnectionError("away")
NO_GROUP = ResponseError("NOGROUP No such consumer group")
WRONG_TYPE = ResponseError("WRONGTYPE Operation against a key")
OTHER = ResponseError("ERR other")
STATE = [5, 1, b"a.b", 7, 0, b"1-1", -1]  # what fetch_end.lua returns
NOTHING = Fetched(position="1-1", now_ms=5, open_chunks=1, patterns=("a.b",), mean_us=7)


def answering(*answers: Any) -> RedisChunks:
    return RedisChunks(RedisDeliveryStore(Settings.load({}), ScriptedServer(answers)))


def requests(*groups: Group) -> list[ChunkRequest]:
    return [ChunkRequest(group, "c1", 10) for group in groups]


def replied(answer: Any) -> list[Any]:
    return [None, answer, STATE]


@pytest.mark.parametrize(
    ("answer", "fetched"),
    [
        (replied(None), NOTHING),
        (replied([]), NOTHING),
        (replied({}), NOTHING),
        (NO_GROUP, Fetched(removed=True)),
        ([None, NO_GROUP, STATE], Fetched(removed=True)),
        (WRONG_TYPE, Fetched()),
        ([None, None, WRONG_TYPE], Fetched()),
        (AWAY, Fetched(is_unknown=True)),
    ],
)
def test_the_other_groups_are_fetched(answer: Any, fetched: Fetched) -> None:
    assert [fetched, NOTHING] == answering(answer, replied(None)).fetch("w1", requests(A, B))


def test_entries_are_read_in_both_protocols() -> None:
    stored = [[b"1-1", [b"event", b"x"]]]
    for streams in ([[b"key", stored]], {b"key": stored}):
        [fetched] = answering(replied(streams)).fetch("w1", requests(A))
        assert [("1-1", b"x")] == [(entry.id, entry.body) for entry in fetched.entries]


@pytest.mark.parametrize(("waiting", "known"), [(-1, None), (0, 0), (3, 3)])
def test_a_negative_number_of_waiting_entries_is_unknown(waiting: int, known: int | None) -> None:
    [fetched] = answering([None, None, [*STATE[:-1], waiting]]).fetch("w1", requests(A))
    assert known == fetched.waiting
    assert [] == answering().fetch("w1", [])


@pytest.mark.parametrize("answers", [(AWAY, AWAY), (OTHER, replied(None)), (replied(None), OTHER)])
def test_without_any_reply_or_with_another_error_nothing_is_fetched(answers: Any) -> None:
    with pytest.raises(redis.RedisError):
        answering(*answers).fetch("w1", requests(A, B))


def test_the_owner_is_the_worker_as_queued_or_running() -> None:
    chunks = answering(replied(None), replied(None))
    chunks.fetch("w1", [ChunkRequest(A, "c1", 10), ChunkRequest(B, "c2", 20, running=True)])
    sent = chunks.client.sent
    assert [("queued:w1", 10), ("running:w1", 20)] == [(read[3], read[5]) for _, read, _ in sent]
    assert [("c1", "queued:w1", 10), ("c2", "running:w1", 20)] == [end[-3:] for _, _, end in sent]


def move(group: Group) -> Advance:
    return Advance(group, "0-0", "1-1", 1, ("a.b",))


MOVED = [5, 0, [1, b"1-1", 0, 0, 7, 3]]


@pytest.mark.parametrize("answer", [AWAY, WRONG_TYPE])
def test_a_group_without_a_reply_is_unknown_and_the_others_advance(answer: Exception) -> None:
    other, advanced = answering(answer, MOVED).advance("w1", [move(A), move(B)])
    assert Advanced(is_unknown=True) == other
    assert (True, "1-1", 5, 7, 3) == (
        advanced.is_moved, advanced.position, advanced.now_ms, advanced.mean_us,
        advanced.entries_read,
    )  # fmt: skip


@pytest.mark.parametrize("answers", [(AWAY, AWAY), (OTHER, MOVED)])
def test_without_any_reply_or_with_another_error_nothing_advances(answers: Any) -> None:
    with pytest.raises(redis.RedisError):
        answering(*answers).advance("w1", [move(A), move(B)])


def test_groups_are_advanced_in_batches() -> None:
    numbers = list(range(MAX_GROUPS + 1))
    assert [numbers[:-1], numbers[-1:]] == list(batched(numbers))
    assert [] == list(batched([]))


@pytest.mark.parametrize("answer", [AWAY, OTHER])
def test_another_error_of_one_group_is_raised_by_reclaiming(answer: Exception) -> None:
    with pytest.raises(type(answer)):
        answering(3, answer).reclaim([A, B])


def test_reclaimed_entries_of_the_other_groups_are_counted() -> None:
    assert 7 == answering(3, NO_GROUP, WRONG_TYPE, 4).reclaim([A, B, A, B])
    assert 0 == answering().reclaim([])


def test_chunks_are_counted_for_their_worker() -> None:
    mine, other = b"1-1 2-1 1 queued:w1 5", b"1-1 2-1 1 running:w2 5"
    running = b"2-1 3-1 1 running:w1 5"
    flat = [b"c1", mine, b"c2", other, b"c3", running, b"", b"x"]
    chunks = answering(flat, WRONG_TYPE, {b"c1": other})
    assert [2, 0, 0] == chunks.count_open("w1", [A, B, A])
    assert [] == answering().count_open("w1", [])
    with pytest.raises(redis.ConnectionError):
        answering(flat, AWAY).count_open("w1", [A, B])


# -- exceptions, which complete.lua completes in the transaction of the chunk


@pytest.fixture
def chunks(settings: Settings) -> RedisChunks:
    event_log = RedisEventLog(settings)
    event_log.join("a", A.handler, "0")
    for n in range(2):
        event_log.append("a", b'{"id": "%d"}' % n)
    return RedisChunks(RedisDeliveryStore(settings))


def failed_last(entries: Sequence[Entry]) -> ChunkCompletion:
    failure = Failure(attempt=1, at=1, error="boom")
    exception = Completion(entries[-1].id, "1", 1, Outcome.RETRY, failure=failure)
    return ChunkCompletion(entries[-1].id, len(entries), exceptions=[exception])


@pytest.mark.parametrize("known", [(), ("_complete",)])
def test_exceptions_are_completed_by_a_server_that_forgot_scripts(
    chunks: RedisChunks, known: tuple[str, ...]
) -> None:
    [fetched] = chunks.fetch("w1", [ChunkRequest(A, "c1", 10, running=True)])
    chunks.client.script_flush()
    for name in known:
        chunks.client.script_load(getattr(module, name).source)
    assert chunks.complete("w1", A, "c1", failed_last(fetched.entries)) is True
    pending = chunks.deliveries.pending(A, fetched.entries[-1].id)
    assert pending is not None and pending.due_ms is not None
    assert "mean_us" not in chunks.deliveries.stats(A)


@pytest.mark.parametrize(
    ("answer", "completed"),
    [
        ([1, []], True),
        ([0, []], False),
        ([0, NoScriptError("NOSCRIPT")], False),
        (NO_GROUP, False),
        ([NO_GROUP, []], False),
    ],
)
def test_a_chunk_with_exceptions_is_completed_or_lost(answer: Any, completed: bool) -> None:
    chunks = answering(answer)
    chunks.clock.note(5)
    done = failed_last([Entry("1-1", b"{}")])
    assert chunks.complete("w1", A, "c1", done) is completed


@pytest.mark.parametrize("answer", [[1, OTHER], [OTHER, []], OTHER, AWAY])
def test_another_error_is_raised(answer: Any) -> None:
    chunks = answering(answer)
    chunks.clock.note(5)
    with pytest.raises(redis.RedisError):
        chunks.complete("w1", A, "c1", failed_last([Entry("1-1", b"{}")]))


WRONG_CLOCK = ResponseError("CLOCK no key of this minute")


@pytest.mark.parametrize(
    ("first", "asks_time"),
    [([WRONG_CLOCK, []], True), ([NoScriptError("NOSCRIPT"), WRONG_CLOCK], False)],
)
def test_a_completion_is_repeated_with_the_right_clock(first: list[Any], asks_time: bool) -> None:
    chunks = answering()
    chunks.client.replies = [[first], [[1, []]]]
    chunks.clock.note(5)
    assert chunks.complete("w1", A, "c1", failed_last([Entry("1-1", b"{}")]))
    _, (repeated, _) = chunks.client.sent
    assert "EVAL" == repeated[0]
    assert asks_time == (chunks.now_ms() >= 1_000_000)


@pytest.mark.parametrize("away", [0, 1])
def test_a_completion_and_a_fetch_are_one_round_trip(away: int) -> None:
    answers: list[Any] = [[1], replied(None)]
    chunks = answering(*answers)
    chunks.clock.note(5)
    done, request = ChunkCompletion("1-1", 1), ChunkRequest(A, "c2", 10)
    assert (True, NOTHING) == chunks.complete_and_fetch("w1", A, "c1", done, request)
    answers[away] = AWAY
    chunks.client.replies = [answers]
    if away:
        unknown = (True, Fetched(is_unknown=True))
        assert unknown == chunks.complete_and_fetch("w1", A, "c1", done, request)
        chunks.client.replies = [[AWAY, AWAY]]
    with pytest.raises(redis.ConnectionError):
        chunks.complete_and_fetch("w1", A, "c1", done, request)


def test_a_chunk_can_be_begun_without_reading_it_again(chunks: RedisChunks) -> None:
    chunks.fetch("w1", [ChunkRequest(A, "c1", 1), ChunkRequest(A, "c2", 1)])
    assert [] == chunks.begin("w1", A, "c1", read=False)
    assert None is chunks.begin("w1", A, "c1", read=False)
    begun = chunks.begin("w1", A, "c2")
    assert begun is not None
    assert [b'{"id": "1"}'] == [entry.body for entry in begun]


def test_a_fetch_and_an_advance_have_the_server_s_time() -> None:
    chunks = answering(replied(None))
    chunks.fetch("w1", requests(A))
    assert 5 <= chunks.now_ms() < 60_000
    chunks.clock.note(90_000)
    chunks.client.replies = [[MOVED]]
    chunks.advance("w1", [move(A)])
    assert 5 <= chunks.now_ms() < 60_000
