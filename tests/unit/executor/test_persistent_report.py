"""A report is sent at once, and again until its reply is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis

from celeriac.executor.persistent_report import PersistentReport


def persist(call: Any) -> Any:
    """Repeat a call that fails, as the process does."""
    while True:
        try:
            return call()
        except redis.RedisError:
            continue


@pytest.mark.parametrize(
    ("failures", "sent", "awaited"),
    [
        ([], 1, 1),
        (["send"], 2, 1),
        (["reply"], 2, 2),
        (["send", "send", "reply"], 4, 2),
        (["reply", "send"], 3, 2),
    ],
)
def test_it_is_sent_again_after_each_failure(failures: list[str], sent: int, awaited: int) -> None:
    calls: list[str] = []

    def fail(what: str) -> None:
        calls.append(what)
        if failures and failures[0] == what:
            failures.pop(0)
            raise redis.ConnectionError("away")

    class Reply:
        def result(self) -> str:
            fail("reply")
            return "done"

    def send() -> Reply:
        fail("send")
        return Reply()

    process: Any = SimpleNamespace(persist_result=persist)
    report = PersistentReport(process, send)
    assert calls == ["send"], "without waiting"
    assert report.result() == "done"
    assert (calls.count("send"), calls.count("reply")) == (sent, awaited)
