"""What browsers load: one style sheet, one script. No build step, and nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "static"


@cache
def _version(name: str) -> str:
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]


def asset(handler: Any, name: str) -> str:
    """The address of one of them, which changes with what is in it."""
    return f"{handler.reverse_url('celeriac-static', name)}?v={_version(name)}"
