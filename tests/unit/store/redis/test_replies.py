"""Replies as the servers and the releases of redis-py return them."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.reply import Waited
from celeriac.settings import Settings
from celeriac.store.redis.connection import service_client
from celeriac.store.redis.replies import MAX_READ, RedisReplies, _waited
from celeriac.store.redis.wakeup import LONGEST_WAIT_MS

RAW = [[b"1-1", [b"reply", b"a"]], [b"2-1", [b"other", b"x", b"reply", b"b"]]]
PARSED = [(b"1-1", {b"reply": b"a"}), (b"2-1", {b"other": b"x", b"reply": b"b"})]
BOTH = Waited([b"a", b"b"], "2-1")


@pytest.mark.parametrize(
    ("answer", "waited"),
    [
        pytest.param(None, Waited([], "0-1"), id="nothing"),
        pytest.param([], Waited([], "0-1"), id="nothing, RESP2, parsed"),
        pytest.param({}, Waited([], "0-1"), id="nothing, RESP3"),
        pytest.param([[b"key", RAW]], BOTH, id="RESP2"),
        pytest.param([[b"key", PARSED]], BOTH, id="RESP2, parsed"),
        pytest.param({b"key": RAW}, BOTH, id="RESP3"),
        pytest.param({b"key": [PARSED]}, BOTH, id="RESP3, parsed"),
        pytest.param({b"key": [[]]}, Waited([], "0-1"), id="no entry, RESP3, parsed"),
    ],
)
def test_replies_are_read_in_each_form(answer: Any, waited: Waited) -> None:
    assert waited == _waited(answer, "0-1")


@pytest.mark.parametrize(
    ("seconds", "block_ms"),
    [(0.0, 1), (-1.0, 1), (0.002, 2), (0.5, 500), (3600.0, LONGEST_WAIT_MS)],
)
def test_a_server_waits_for_at_least_a_millisecond_and_not_for_long(
    settings: Settings, seconds: float, block_ms: int
) -> None:
    replies = RedisReplies(settings, service_client(settings))
    _, _, count, _, block, _, key, position = replies._read("mailbox", "1-1", seconds)
    assert (MAX_READ, block_ms, "1-1") == (count, block, position)
    assert replies.keys.replies("mailbox") == key
