"""An append that is interrupted between its tries states how many events were appended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from celeriac.event_log import EntryKind, Item
from celeriac.settings import Settings
from celeriac.spool.async_event_log import AsyncSpooledEventLog
from celeriac.spool.event_log import SpooledEventLog
from celeriac.spool.file import SpoolFile

ITEMS: Sequence[Item] = [("order", b"{}", EntryKind.MADE, 0)] * 5


class Interrupted(BaseException):
    """As a signal handler raises it."""


def failing() -> Any:
    """Return an append_many that appends one event and loses its connection, then appends two and
    is interrupted."""
    errors: list[Any] = [redis.ConnectionError("lost"), Interrupted()]

    def append_many(_: Any) -> None:
        error = errors.pop(0)
        error.appended = 2 - len(errors)
        raise error

    return append_many


@pytest.mark.parametrize("is_async", [False, True])
def test_the_events_of_all_tries_count(tmp_path: Path, settings: Settings, is_async: bool) -> None:
    append_many = failing()

    async def aappend_many(items: Any) -> None:
        append_many(items)

    inner: Any = SimpleNamespace(append_many=append_many)
    spooled = SpooledEventLog(inner, SpoolFile(str(tmp_path / "spool.db"), 1_000_000), settings)
    ainner: Any = SimpleNamespace(append_many=aappend_many)
    with pytest.raises(Interrupted) as interrupted:
        if is_async:
            asyncio.run(AsyncSpooledEventLog(ainner, spooled).append_many(ITEMS))
        else:
            spooled.append_many(ITEMS)
    assert interrupted.value.appended == 3  # type: ignore[attr-defined]
