"""The files that browsers load: one style sheet, one script, no build step, no other hosts."""

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
    """Return the URL of a file; it changes with the content."""
    return f"{handler.reverse_url('celeriac-static', name)}?v={_version(name)}"
