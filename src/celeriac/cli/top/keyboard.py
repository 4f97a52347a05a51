"""Keys, as they are pressed: one name for each, without waiting for a line."""

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
# A sequence as terminals send it for a key (ECMA-48), or one character.
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.S)


@contextmanager
def raw_keys() -> Iterator[int]:
    """Within, keys come at once and are not shown. Gives the terminal's descriptor."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def pressed(terminal: int, seconds: float) -> list[str]:
    """The keys pressed within so long; it returns with the first. A closed terminal is a `q`."""
    ready, _, _ = select.select([terminal], [], [], seconds)
    if not ready:
        return []
    raw = os.read(terminal, 1024)
    return list(named(raw)) if raw else ["q"]


def named(raw: bytes) -> Iterator[str]:
    """The names of what a terminal sent: a character, or what _NAMED says. Others are left out."""
    for found in _KEY.finditer(raw.decode(errors="ignore")):
        key = found[0]
        if key in _NAMED:
            yield _NAMED[key]
        elif key.isprintable():
            yield key
