"""Exceptions outside `Exception`: which are failures, and which must pass."""

from __future__ import annotations

import asyncio

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
def test_what_asks_to_end_passes(error: BaseException) -> None:
    assert is_control_flow(error)


@pytest.mark.parametrize(
    "error",
    [PanicException("index"), gevent.Timeout(1), asyncio.CancelledError(), SystemExit(3),
     ValueError(), BaseExceptionGroup("many", [PanicException()])],
)  # fmt: skip
def test_all_else_is_a_failure(error: BaseException) -> None:
    assert not is_control_flow(error)


def test_the_time_limit_of_a_gevent_pool_is_celerys() -> None:
    assert is_time_limit(gevent.Timeout(5), 5)
    assert not is_time_limit(gevent.Timeout(1), 5)
    assert not is_time_limit(gevent.Timeout(1), None)
