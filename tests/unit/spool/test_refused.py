"""A domain that Redis does not accept holds up no event of another domain in the spool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from celeriac.errors import LogFull
from celeriac.event_log import EntryKind, Item
from celeriac.settings import Settings
from celeriac.spool import event_log
from celeriac.spool.event_log import SpooledEventLog
from celeriac.spool.file import SpoolFile
from tests.logged import messages_of

NAMES = ["order/1", "bad/1", "order/2", "bad/2", "mail/1"]


class Log:
    """An event log that refuses one domain while `error` is set."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.appended: list[bytes] = []

    def register_domains(self, domains: Iterable[str]) -> None: ...

    def append_many(self, items: Sequence[Item]) -> int:
        for number, (domain, body, *_) in enumerate(items):
            self._check(domain, number)
            self.appended.append(body)
        return len(items)

    def append_delayed(self, domain: str, body: bytes, **_: Any) -> int:
        self._check(domain, 0)
        self.appended.append(body)
        return 0

    def _check(self, domain: str, number: int) -> None:
        if domain == "bad" and self.error is not None:
            self.error.appended = number  # type: ignore[attr-defined]
            raise self.error


@pytest.mark.parametrize("at_ms", [None, 1])
@pytest.mark.parametrize(
    "error",
    [
        NoPermissionError("this user has no permissions"),
        redis.ResponseError("WRONGTYPE Operation against a key"),
        LogFull("the backlog of bad is full"),
    ],
)
def test_events_of_a_refused_domain_stay_and_the_others_are_appended(
    tmp_path: Path,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    at_ms: int | None,
) -> None:
    log, file = Log(error), SpoolFile(str(tmp_path / "spool.db"), 1_000_000)
    inner: Any = log
    spooled = SpooledEventLog(inner, file, settings)
    items = [(name.partition("/")[0], name.encode(), EntryKind.GIVEN, 0) for name in NAMES]
    file.put(items, at_ms)
    for _ in range(2):
        assert not spooled.drain(20)
    assert log.appended == [b"order/1", b"order/2", b"mail/1"]
    assert file.count() == 2
    [line] = [each for each in messages_of(caplog, event_log) if file.path in each]
    assert "events of domain bad stay in the spool" in line
    log.error = None
    assert spooled.drain(20)
    assert log.appended[3:] == [b"bad/1", b"bad/2"]
