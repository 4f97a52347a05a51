"""Log records of one module: threads that earlier tests started may log at any time."""

from __future__ import annotations

import logging
from types import ModuleType

import pytest


def records_of(caplog: pytest.LogCaptureFixture, module: ModuleType) -> list[logging.LogRecord]:
    """Return the records of the module's logger, in order."""
    return [each for each in caplog.records if each.name == module.__name__]


def messages_of(caplog: pytest.LogCaptureFixture, module: ModuleType) -> list[str]:
    """Return the messages of the module's logger, in order."""
    return [each.getMessage() for each in records_of(caplog, module)]
