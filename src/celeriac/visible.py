"""Text for terminals and logs, whatever events, errors and the registry hold.

A terminal obeys what it is sent. An escape sequence in a subject could hide lines, forge output or
type commands; a bidirectional override could show a name backwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_NAMED = 10

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Line feeds and tabs are layout: tracebacks and tables have them.
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_BIDI}\ud800-\udfff]")


def listed(names: Iterable[str], total: int | None = None) -> str:
    """`a, b, c`, and of more than MAX_NAMED the first, `and 7 more`.

    `total` is how many there are, where `names` has only the first of them.
    """
    there = list(names)
    more = (len(there) if total is None else total) - MAX_NAMED
    text = ", ".join(there[:MAX_NAMED])
    return f"{text} and {more:,} more" if more > 0 else text


def visible(text: str) -> str:
    """Return the text with a visible character in place of each that a terminal obeys: `␛[2J`.

    It has as many characters as before.
    """
    return _UNSAFE.sub(lambda found: _picture(ord(found[0])), text)


def visible_line(text: str) -> str:
    """Return the same in one line: a space in place of each line break."""
    return visible(" ".join(text.splitlines()))


def visible_json(text: str) -> str:
    """Return JSON with an escape in place of each such character: it means the same."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _picture(code: int) -> str:
    # Unicode has pictures of the control characters of ASCII
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
