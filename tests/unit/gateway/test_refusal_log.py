"""Refused requests in the log: each kind once a minute, with the number of the others."""

from __future__ import annotations

import logging

import pytest

from celeriac.gateway import refusal_log
from celeriac.gateway.refusal import Refusal
from celeriac.gateway.refusal_log import INTERVAL, RefusalLog
from tests.logged import messages_of


def test_the_number_of_unlogged_refusals_is_in_the_next_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1000.0
    log = RefusalLog(lambda: now)
    with caplog.at_level(logging.WARNING, logger="celeriac"):
        for _ in range(10):
            log.note("/events", Refusal(401, "the token is unknown"))
        log.note("/events", Refusal(403, "not\nallowed", cause=""), "partner")
        now += INTERVAL
        log.note("/events", Refusal(401, "the token is unknown"))
    assert messages_of(caplog, refusal_log) == [
        "celeriac: /events refused a request: 401 the token is unknown",
        "celeriac: /events refused a request of partner: 403 not allowed",
        "celeriac: /events refused a request: 401 the token is unknown "
        "(9 more since the last line)",
    ]


def test_the_cause_is_logged_and_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    refusal = Refusal(503, "send it again", cause="no Redis at internal:6379")
    with caplog.at_level(logging.WARNING, logger="celeriac"):
        RefusalLog().note("/events", refusal)
    assert "internal:6379" in caplog.text
    assert b"internal" not in bytes(refusal.response().body)
