"""What a dispatcher says of turns that fail."""

from __future__ import annotations

import logging

import pytest
import redis
from redis.exceptions import MovedError, ResponseError

from celeriac.dispatcher.outage import log_outage
from celeriac.errors import BusUnavailable

URL = "redis://ada:secret@127.0.0.1:6379/0"


@pytest.mark.parametrize("error", [redis.ConnectionError("refused"), BusUnavailable("the broker")])
def test_an_outage_is_told_at_once_and_then_seldom(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for failures in range(1, 121):
            log_outage(error, failures, URL)
    assert 4 == len(caplog.records)
    assert "retrying" in caplog.text
    assert "secret" not in caplog.text


def test_a_fault_is_told_each_time_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    for failures in (1, 2):
        try:
            raise KeyError("lane")
        except KeyError as error:
            log_outage(error, failures, URL)
    assert 2 == len(caplog.records)
    assert all(record.exc_info for record in caplog.records)


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
