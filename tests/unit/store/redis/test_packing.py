"""Commands that append events, and how many events were appended when a reply is an error or is
missing."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from celeriac.event_log import EntryKind, Item
from celeriac.store.redis.append_once import APPEND_ONCE
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.packing import Packing, note_answered, pack_command, refuse_first

BODY = b'{"id": "a", "source": "shop", "type": "order.placed", "specversion": "1.0"}'
COUNTS = [1, 3, 1, 2]


def appended(error: Exception) -> Any:
    return getattr(error, "appended", None)


def test_without_an_error_nothing_is_raised() -> None:
    refuse_first([b"1-1", [b"1-2"], b"1-3", [b"1-4"]], COUNTS)
    refuse_first([], [])


@pytest.mark.parametrize(("at", "before"), [(0, 0), (1, 1), (2, 4), (3, 5)])
def test_the_first_error_has_how_many_were_appended_before(at: int, before: int) -> None:
    answers: list[Any] = [b"1-1"] * 4
    answers[at:] = [ResponseError(f"{n}") for n in range(at, 4)]
    with pytest.raises(ResponseError, match=f"{at}") as raised:
        refuse_first(answers, COUNTS)
    assert before == appended(raised.value)


@pytest.mark.parametrize(("answered", "before"), [(0, 0), (1, 1), (2, 4), (4, 7)])
def test_a_lost_connection_has_how_many_were_answered(answered: int, before: int) -> None:
    error: Any = redis.ConnectionError("away")
    error.answers = [b"1-1"] * answered
    note_answered(error, COUNTS)
    assert before == appended(error)


def test_a_connection_that_was_never_made_has_none() -> None:
    error = redis.ConnectionError("away")
    note_answered(error, COUNTS)
    assert 0 == appended(error)


def test_a_refusal_before_the_connection_was_lost_is_raised() -> None:
    error: Any = redis.ConnectionError("away")
    error.answers = [b"1-1", ResponseError("refused")]
    with pytest.raises(ResponseError, match="refused") as raised:
        note_answered(error, COUNTS)
    assert 1 == appended(raised.value)


@pytest.mark.parametrize(("window", "ms"), [(0.0, 0), (2.5, 2500)])
def test_the_window_is_sent_in_milliseconds(window: float, ms: int) -> None:
    packing = Packing(Keys("n"))
    item: Item = ("order", BODY, EntryKind.GIVEN, 0)
    keys, window_ms, *_ = packing.call([item], window)
    assert (ms, keys) == (window_ms, APPEND_ONCE.keys(Keys("n"), "order"))
    digest = APPEND_ONCE.of_keys(*packing.call([item], window))
    assert packing.once(item, window) == pack_command(digest)


@pytest.mark.parametrize("kind", list(EntryKind))
def test_a_plain_event_is_one_command(kind: EntryKind) -> None:
    packing = Packing(Keys("n"))
    words = ("XADD", Keys("n").events("order"), "*", kind.value, BODY)
    assert pack_command(words) == packing.plain("order", BODY, kind)


def test_a_portion_has_a_command_for_each_event_or_for_several_of_one_domain() -> None:
    packing, windows = Packing(Keys("n")), []

    def window() -> float:
        windows.append(1)
        return 60.0

    made: list[Item] = [("order", BODY, EntryKind.MADE, 0)] * 2
    given: list[Item] = [("order", BODY, EntryKind.GIVEN, 0)] * 3
    packed, counts = packing.portion(made, window)
    assert ([1, 1], []) == (counts, windows)
    assert packed == packing.plain(*made[0][:3]) * 2
    packed, counts = packing.portion([*made, *given, made[0]], window)
    assert ([1, 1, 3, 1], [1]) == (counts, windows)
    assert packed.startswith(packing.plain(*made[0][:3]) * 2 + b"*")
