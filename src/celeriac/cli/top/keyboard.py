"""Read keys as they are pressed, by name."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_NAMED = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1bOA": "up", "\x1bOB": "down", "\x1b": "escape", "\r": "enter", "\n": "enter",
    "\x7f": "backspace", "\x08": "backspace", "\x03": "q",
}  # fmt: skip
# A key as terminals send it (ECMA-48), or one character.
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.S)


@contextmanager
def raw_keys() -> Iterator[int]:
    """Read keys without echo and without waiting for a line; yield the terminal's descriptor."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def pressed(terminal: int, seconds: float) -> list[str]:
    """Return the keys pressed; block for at most `seconds`. A closed terminal is a `q`."""
    ready, _, _ = select.select([terminal], [], [], seconds)
    if not ready:
        return []
    raw = os.read(terminal, 1024)
    return list(named(raw)) if raw else ["q"]


def named(raw: bytes) -> Iterator[str]:
    """Yield the names of the keys that a terminal sent; unknown sequences are dropped."""
    for match in _KEY.finditer(raw.decode(errors="ignore")):
        key = match[0]
        if key in _NAMED:
            yield _NAMED[key]
        elif key.isprintable():
            yield key
