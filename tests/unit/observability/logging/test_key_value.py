"""`key=value` lines can be read back, whatever the values hold."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from celeriac.event import Event, HandlingContext
from celeriac.observability.logging import KeyValueFormatter, SuffixFormatter

Make = Callable[..., logging.LogRecord]


def pairs(line: str) -> dict[str, str]:
    found = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line)
    return {key: re.sub(r"\\(.)", r"\1", quoted) or plain for key, quoted, plain in found}


def test_a_line_names_event_handler_attempt_and_correlation(
    record: Make, event: Event[Any]
) -> None:
    with HandlingContext(event, 2, "billing.charge_card"):
        line = KeyValueFormatter("billing").format(record("charged %d", 7))
    found = pairs(line)
    assert ("warning", "billing", "handlers.billing", "charged 7") == tuple(
        found[name] for name in ("level", "service", "logger", "message")
    )
    assert ("order.placed", "7", "billing.charge_card", "2", "1") == tuple(
        found[name] for name in ("event", "id", "handler", "attempt", "correlation")
    )
    assert "secret" not in line


def test_a_message_cannot_pass_for_other_fields_or_lines(record: Make) -> None:
    said = 'x" event=y \\ id="z\r\nat=00:00:00 level=error'
    line = KeyValueFormatter("billing").format(record("%s", said))
    assert 1 == len(line.splitlines())
    assert said.replace("\r\n", " ") == pairs(line)["message"]
    assert "event" not in pairs(line)


def test_a_traceback_follows_in_lines_of_its_own(record: Make) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        lines = KeyValueFormatter().format(record("failed", error=True)).splitlines()
    assert ("  Traceback (most recent call last):", "  ValueError: no") == (lines[1], lines[-1])


def test_the_event_is_appended_to_lines_of_another_formatter(
    record: Make, event: Event[Any]
) -> None:
    form = SuffixFormatter(logging.Formatter("%(levelname)s %(message)s"))
    assert "WARNING ready" == form.format(record("ready"))
    with HandlingContext(event, 2, "billing.charge_card"):
        assert (
            "WARNING a [order.placed 7 billing.charge_card attempt 2 correlation 1]\nb"
            == form.format(record("a\nb"))
        )
    with HandlingContext(event, 1, "analytics.count", size=80):
        assert "analytics.count first of 80 correlation 1]" in form.format(record("counted"))
