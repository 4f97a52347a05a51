"""Replies of the server to the event log, and what follows for the other domains."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError, ResponseError

from celeriac.delivery.pending_reply import ReceivedReply
from celeriac.errors import LogFull
from celeriac.event_log import EntryKind, Item
from celeriac.settings import Settings
from celeriac.store.redis.event_log import RedisEventLog, add_emitted_counts
from celeriac.store.redis.keys import Keys
from tests.unit.store.redis.scripted_server import ScriptedServer

AWAY = redis.ConnectionError("away")
OTHER = ResponseError("ERR other")
WRONG_TYPE = ResponseError("WRONGTYPE Operation against a key")
FORBIDDEN = NoPermissionError("NOPERM no permission")
ITEMS: list[Item] = [("order", b"%d" % n, EntryKind.MADE, 0) for n in range(3)]


class Broken:
    """A reply that is lost after some of its parts."""

    def __init__(self, *answers: Any) -> None:
        self.answers = answers

    def result(self) -> Any:
        error: Any = redis.ConnectionError("away")
        error.answers = self.answers
        raise error


def answering(*answers: Any, **given: Any) -> RedisEventLog:
    event_log = RedisEventLog(Settings.load({}, **given))
    event_log.client = ScriptedServer(answers)
    return event_log


@pytest.mark.parametrize(
    ("reply", "appended", "error"),
    [
        (ReceivedReply([b"1-1", OTHER, b"1-2"]), 1, ResponseError),
        (Broken(), 0, redis.ConnectionError),
        (Broken(b"1-1", b"1-2"), 2, redis.ConnectionError),
        (Broken(b"1-1", OTHER), 1, ResponseError),
    ],
)
def test_an_error_has_how_many_events_were_appended(
    reply: Any, appended: int, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        answering(reply).append_many(ITEMS)
    assert appended == raised.value.appended  # type: ignore[attr-defined]
    assert 3 == answering(ReceivedReply([b"1-1", b"1-2", b"1-3"])).append_many(ITEMS)


@pytest.mark.parametrize("kind", [EntryKind.MADE, EntryKind.FOREIGN])
def test_a_refused_append_is_raised(kind: EntryKind) -> None:
    with pytest.raises(ResponseError):
        answering(ReceivedReply([OTHER])).append("order", b"x", kind)
    assert "1-1" == answering(ReceivedReply([b"1-1"])).append("order", b"x", kind)


@pytest.mark.parametrize(
    ("answers", "is_cancelled"),
    [([0, 0], False), ([0, 1], True), ([FORBIDDEN, 1], True), ([FORBIDDEN, FORBIDDEN], False)],
)
def test_a_domain_that_the_user_may_not_change_has_no_event_to_cancel(
    answers: list[Any], is_cancelled: bool
) -> None:
    assert is_cancelled is answering(*answers).cancel_delayed("k", ["a", "b"])
    assert answering().cancel_delayed("k", []) is False


@pytest.mark.parametrize("error", [OTHER, AWAY])
def test_another_error_of_a_cancellation_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        answering(1, error).cancel_delayed("k", ["a", "b"])


def test_delayed_events_of_the_other_domains_are_moved() -> None:
    event_log = answering([2, 0], WRONG_TYPE, [0, 7], dedup_window=2.5)
    assert [(2, None), (0, None), (0, 7)] == event_log.enqueue_due_many(["a", "b", "c"], 9)
    assert [9, 2500] == list(event_log.client.sent[0][-2:])
    assert event_log.keys.delayed("b") in {record.key for record in event_log.invalid}
    with pytest.raises(ResponseError):
        answering(OTHER).enqueue_due("a")


def test_pages_of_the_other_domains_are_read() -> None:
    event_log = answering([[b"1-1", [b"made", b"x"]]], AWAY, WRONG_TYPE, [])
    wanted = [("a", "0-0", 5), ("b", "1-1", 6), ("c", "0-0", 7), ("d", "0-0", 8)]
    first, away, other, nothing = event_log.read_after(wanted)
    assert ([("1-1", b"x")], None, [], []) == (
        [(entry.id, entry.body) for entry in first or ()], away, other, nothing
    )  # fmt: skip
    key = event_log.keys.events("b")
    assert ("XRANGE", key, "(1-1", "+", "COUNT", 6) == event_log.client.sent[1]
    with pytest.raises(ResponseError):
        answering(OTHER).read_after(wanted[:1])


def test_a_domain_beyond_the_limit_is_refused_by_name() -> None:
    with pytest.raises(LogFull, match=r"7 domains.*'a\ufffd' was refused"):
        answering([b"a\xff", b"b"], max_domains=7).register_domains(["a"])
    event_log = answering([], max_domains=7)
    event_log.register_domains(["a", "b"])
    event_log.register_domains(["a"], bounded=False)
    assert [(7, "a", "b"), (0, "a")] == [words[4:] for words in event_log.client.sent]
    answering().register_domains([])


@pytest.mark.parametrize(("answer", "removed"), [(3, 3), (WRONG_TYPE, 0)])
def test_idle_consumers_are_counted(answer: Any, removed: int) -> None:
    assert removed == answering(answer).remove_idle_consumers("a")
    with pytest.raises(ResponseError):
        answering(OTHER).remove_idle_consumers("a")


def test_emitted_events_are_counted_by_domain() -> None:
    server, keys = ScriptedServer([1, 1]), Keys("n")
    add_emitted_counts(server, keys, {"a.x": 1, "b.y": 2, "a.z": 3})
    assert [(keys.emitted("a"), "a.x", 1, "a.z", 3), (keys.emitted("b"), "b.y", 2)] == [
        words[3:] for words in server.sent
    ]


def test_nothing_is_known_of_no_ids() -> None:
    assert [] == answering().registered("order", [])
