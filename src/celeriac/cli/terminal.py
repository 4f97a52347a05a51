"""What the commands write to a terminal: text alone, whatever events and the registry hold.

A terminal obeys what it is sent. An escape sequence in a subject could hide lines, forge output or
type commands; a bidirectional override could show a name backwards. All output goes through here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Line feeds and tabs are layout: tracebacks and tables have them.
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with a visible character in place of each that a terminal obeys: `␛[2J`.

    It has as many characters as before.
    """
    return _UNSAFE.sub(lambda found: _picture(ord(found[0])), text)


def visible_json(text: str) -> str:
    """JSON with an escape in place of each: it means the same."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _picture(code: int) -> str:
    # Unicode has pictures of the control characters of ASCII
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def echo(text: object = "", *, err: bool = False) -> None:
    """Prints a line."""
    click.echo(visible(str(text)), err=err)


def confirm(question: str, **options: Any) -> bool:
    """Asks; see click.confirm."""
    return click.confirm(visible(question), **options)


def make_console(width: int | None = None, *, err: bool = False, **options: Any) -> Console:
    """A console of rich whose texts are all visible."""
    from rich.console import Console
    from rich.segment import Segment

    class VisibleConsole(Console):
        # All that is shown comes by here as text, and its style apart from it.
        def render(self, *args: Any, **more: Any) -> Iterable[Segment]:
            for segment in super().render(*args, **more):
                text, style, control = segment
                yield segment if control else Segment(visible(text), style)

    stream: Mapping[str, Any] = {"stderr": True} if err else {"file": sys.stdout}
    return VisibleConsole(width=width, **stream, **options)
