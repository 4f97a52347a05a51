"""Make text from events, errors and the registry safe for terminals and logs.

A terminal executes control sequences. A sequence in a subject could hide lines, forge output or
enter commands; a bidirectional override could show a name backwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_NAMED = 10

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Line feeds and tabs are layout: tracebacks and tables have them.
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_BIDI}\ud800-\udfff]")


def listed(names: Iterable[str], total: int | None = None) -> str:
    """Return `a, b, c`; for more than MAX_NAMED names, the first and `and 7 more`.

    Pass `total` if `names` has only the first of them.
    """
    known = list(names)
    more = (len(known) if total is None else total) - MAX_NAMED
    text = ", ".join(known[:MAX_NAMED])
    return f"{text} and {more:,} more" if more > 0 else text


def visible(text: str) -> str:
    """Return the text with each control character replaced by a visible one: `␛[2J`.

    The length does not change.
    """
    return _UNSAFE.sub(lambda match: _picture(ord(match[0])), text)


def visible_line(text: str) -> str:
    """Return the visible text in one line, with a space instead of each line break."""
    return visible(" ".join(text.splitlines()))


def visible_json(text: str) -> str:
    """Return equivalent JSON with each control character escaped."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _picture(code: int) -> str:
    # Unicode has pictures of ASCII control characters.
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
