"""What a dispatcher logs about failed iterations."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import redis
from redis.exceptions import MovedError, ResponseError

from celeriac.dispatcher import outage
from celeriac.dispatcher.outage import is_logged, log_outage, outage_pause
from celeriac.errors import BusUnavailable
from tests.logged import records_of

URL = "redis://ada:secret@127.0.0.1:6379/0"


def own(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the records of the module; threads of earlier tests may log others."""
    return records_of(caplog, outage)


@pytest.mark.parametrize("error", [redis.ConnectionError("refused"), BusUnavailable("the broker")])
def test_an_outage_is_logged_at_once_and_then_seldom(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for failures in range(1, 121):
            log_outage(error, failures, URL)
    assert 4 == len(own(caplog))
    assert "retrying" in caplog.text
    assert "secret" not in caplog.text


def test_a_fault_is_logged_each_time_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    for failures in (1, 2):
        try:
            raise KeyError("lane")
        except KeyError as error:
            log_outage(error, failures, URL)
    assert 2 == len(own(caplog))
    assert all(record.exc_info for record in own(caplog))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MovedError("3999 127.0.0.1:6381"), "moved a slot of the cluster to another node"),
        (ResponseError("MISCONF Redis is configured to"), "cannot write to its disk"),
    ],
)
def test_a_server_that_refuses_is_not_away(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_outage(error, 1, URL)
    assert f"{said} ({error}); waiting until it accepts commands again" in caplog.text
    assert "is away" not in caplog.text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ResponseError("ERR unknown command"), "refuses (ERR unknown command); retrying"),
        (redis.ConnectionError("reset"), "is unreachable (reset); retrying"),
    ],
)
def test_an_error_of_the_server_is_logged_as_a_refusal_and_not_as_an_outage(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_outage(error, 1, URL)
    assert f"@127.0.0.1:6379/0 {said}" in caplog.text


def test_of_consecutive_failures_a_few_are_logged() -> None:
    assert [1, 10, 60, 120, 180] == [n for n in range(1, 200) if is_logged(n)]


@pytest.mark.parametrize(("jitter", "share"), [(min, 0.5), (max, 1.0)])
def test_the_pause_doubles_with_each_failure_up_to_two_seconds(
    monkeypatch: pytest.MonkeyPatch, jitter: Callable[[float, float], float], share: float
) -> None:
    monkeypatch.setattr("celeriac.dispatcher.outage.random.uniform", jitter)
    pauses = [outage_pause(failures) for failures in (1, 2, 3, 4, 5, 6, 7, 10_000)]
    assert pauses == pytest.approx([share * at for at in (0.2, 0.4, 0.8, 1.6, 2, 2, 2, 2)])
