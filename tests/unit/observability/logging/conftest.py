"""Events to log about, and records of the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import pytest

from celeriac.event import Event, build_event

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def event() -> Event[dict[str, str]]:
    return build_event(
        "order.placed",
        {"card": "secret"},
        source="shop",
        id="7",
        correlationid="1",
        traceparent=TRACE,
    )


@pytest.fixture
def record() -> Callable[..., logging.LogRecord]:
    """Makes a record as `logger.warning(message, *args, extra=extra)` does."""

    def make(
        message: str, *args: object, error: bool = False, **extra: object
    ) -> logging.LogRecord:
        logger = logging.getLogger("handlers.billing")
        info = sys.exc_info() if error else None
        return logger.makeRecord(
            logger.name, logging.WARNING, "billing.py", 3, message, args, info, extra=extra or None
        )

    return make
