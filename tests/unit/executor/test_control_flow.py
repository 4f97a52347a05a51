"""Exceptions outside `Exception`: which are failures, and which must pass."""

from __future__ import annotations

import asyncio
import sys

import gevent
import pytest
from celery.exceptions import WorkerShutdown

from celeriac.executor.control_flow import is_control_flow, is_time_limit


class PanicException(BaseException):
    """As pyo3 raises it."""


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), GeneratorExit(), WorkerShutdown(0), gevent.GreenletExit(),
     SystemExit(15 - 256), BaseExceptionGroup("many", [ValueError(), KeyboardInterrupt()])],
)  # fmt: skip
def test_exceptions_that_end_the_process_propagate(error: BaseException) -> None:
    assert is_control_flow(error)


@pytest.mark.parametrize(
    "error",
    [PanicException("index"), gevent.Timeout(1), asyncio.CancelledError(), SystemExit(3),
     SystemExit("text"), SystemExit(None), SystemExit(0), SystemExit(-1), SystemExit(1 - 256 - 9),
     ValueError(), BaseExceptionGroup("many", [PanicException()])],
)  # fmt: skip
def test_all_else_is_a_failure(error: BaseException) -> None:
    assert not is_control_flow(error)


def test_the_time_limit_of_a_gevent_pool_is_celerys() -> None:
    assert is_time_limit(gevent.Timeout(5), 5)
    assert not is_time_limit(gevent.Timeout(1), 5)
    assert not is_time_limit(gevent.Timeout(1), None)
    assert not is_time_limit(gevent.Timeout(None), None)
    assert not is_time_limit(TimeoutError(), 5)


def test_without_gevent_or_greenlets_there_is_no_exception_of_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit, ending = gevent.Timeout(5), gevent.GreenletExit()
    for name in ("gevent", "greenlet"):
        monkeypatch.delitem(sys.modules, name)
    assert is_time_limit(limit, 5) is False
    assert is_control_flow(ending) is False
    assert is_control_flow(KeyboardInterrupt()) is True
