"""Imports in a service without SQLAlchemy, which is optional."""

from __future__ import annotations

import runpy
import sys
from importlib.util import find_spec

import pytest

TYPES_ONLY = "celeriac.outbox.session"


def import_again(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the module again, as if SQLAlchemy were not installed."""
    for name in [*sys.modules, TYPES_ONLY]:
        if name.partition(".")[0] == "sqlalchemy" or name == TYPES_ONLY:
            monkeypatch.setitem(sys.modules, name, None)
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    runpy.run_path(spec.origin, run_name="imported_again")
