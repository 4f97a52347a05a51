"""No line of a log can be forged, or commands a terminal, whatever an event or an error holds."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import pytest
from celery.app.log import TaskFormatter

from celeriac.event import Event, HandlingContext
from celeriac.observability.logging import JsonFormatter, KeyValueFormatter, SuffixFormatter

ESCAPE, CSI, OVERRIDE, SEPARATOR = "\x1b[2J", "\x9b2J", "\u202e", "\u2028"
FORGED = "time=00:00:00 level=error message=forged"
HOSTILE = f"x{ESCAPE}{CSI}{OVERRIDE}{SEPARATOR}\r\n{FORGED}\n\x07\x7f"
OBEYED = frozenset("\x1b\x9b\u202e\u2028\r\x07\x7f")
FORMATTERS = [
    KeyValueFormatter("billing"),
    JsonFormatter("billing"),
    SuffixFormatter(TaskFormatter("%(levelname)s %(message)s", use_color=False)),
]


def logged(message: str, *args: object, failed: bool = False) -> logging.LogRecord:
    """A record as a module of celeriac makes it."""
    logger = logging.getLogger("celeriac.executor.work")
    info = sys.exc_info() if failed else None
    return logger.makeRecord(logger.name, logging.ERROR, "work.py", 1, message, args, info)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda one: type(one).__name__)
def test_a_message_stays_in_its_line(formatter: logging.Formatter) -> None:
    line = formatter.format(logged("billing.charge failed on %s", HOSTILE))
    assert FORGED.split()[0] in line
    assert 1 == len(line.splitlines())
    assert not OBEYED & set(line)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda one: type(one).__name__)
def test_an_event_forges_no_line(formatter: logging.Formatter) -> None:
    """Events are refused for such an attribute; what reads a log need not rely on it."""
    event = Event(
        id=HOSTILE, source=HOSTILE, type="order.placed", subject=HOSTILE, correlationid=HOSTILE,
        data=None,
    )  # fmt: skip
    with HandlingContext(event, 2, "billing.charge"):
        line = formatter.format(logged("declined"))
    assert "order.placed" in line and "forged" in line
    assert 1 == len(line.splitlines())
    assert not OBEYED & set(line)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda one: type(one).__name__)
def test_a_traceback_commands_no_terminal(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logged("failed", failed=True)
    text = formatter.format(record)
    assert "ValueError: x" in text
    assert not OBEYED & set(text)
    assert record.exc_text is None or ESCAPE in record.exc_text


def test_lines_of_others_keep_their_colours(record: Callable[..., logging.LogRecord]) -> None:
    coloured = record("\x1b[32mcharged\x1b[0m")
    assert "\x1b[32mcharged\x1b[0m" == SuffixFormatter(logging.Formatter()).format(coloured)


def test_no_line_of_a_traceback_passes_for_a_record() -> None:
    try:
        raise ValueError(f"x\n{FORGED}")
    except ValueError:
        lines = KeyValueFormatter("billing").format(logged("failed", failed=True)).splitlines()
    assert ["time"] == [line.partition("=")[0] for line in lines if line.startswith("time=")]
    assert f"  {FORGED}" == lines[-1]
