"""One JSON object a record, in one line, whatever is logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from celeriac.event import Event, HandlingContext
from celeriac.observability.logging import EventContext, JsonFormatter

Make = Callable[..., logging.LogRecord]


def parsed(record: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter("billing").format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_has_its_time_place_message_and_event(record: Make, event: Event[Any]) -> None:
    with HandlingContext(event, 2, "billing.charge_card"):
        line = parsed(record("card of %s\nis %r", "order/7", "x"))
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    assert ("warning", "billing", "handlers.billing") == (
        line["level"], line["service"], line["logger"]
    )  # fmt: skip
    assert "card of order/7\nis 'x'" == line["message"]
    assert ("order.placed", "7", "billing.charge_card", 2, "1") == tuple(
        line[name] for name in ("event_type", "event_id", "handler", "attempt", "correlation_id")
    )
    assert "secret" not in json.dumps(line)


def test_outside_a_handler_no_event_is_named(record: Make) -> None:
    line = record("ready")
    EventContext().filter(line)
    assert not {"event_id", "handler", "correlation_id"} & parsed(line).keys()


def test_an_error_has_its_traceback(record: Make) -> None:
    try:
        raise ValueError("no\nsuch card")
    except ValueError:
        line = parsed(record("failed", error=True))
    assert "ValueError: no\nsuch card" == line["error"]
    assert "test_json_line.py" in line["traceback"]


def test_extra_fields_come_too_and_cannot_pass_for_ours(record: Make) -> None:
    line = parsed(record("x", order=7, path={1, 2}.__class__, level="fatal"))
    assert (7, "<class 'set'>", "warning") == (line["order"], line["path"], line["level"])


def test_what_json_has_no_form_for_still_becomes_a_line(record: Make) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

        __str__ = __repr__

    line = parsed(record("file %s", "\udcff", odd=Odd(), nan=float("nan")))
    assert "file \\udcff" == line["message"]
    assert "Odd has no repr" in line["odd"]
