"""Log lines of one module: threads that earlier tests started may log at any time."""

from __future__ import annotations

from types import ModuleType

import pytest


def messages_of(caplog: pytest.LogCaptureFixture, module: ModuleType) -> list[str]:
    """Return the messages of the module's logger, in order."""
    return [each.getMessage() for each in caplog.records if each.name == module.__name__]
