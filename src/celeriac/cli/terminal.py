"""What the commands write to a terminal: text alone. All output goes through here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from celeriac.visible import visible

if TYPE_CHECKING:
    from rich.console import Console


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
