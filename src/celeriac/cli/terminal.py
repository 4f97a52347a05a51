"""Write text to a terminal, with control characters made visible. All output uses this module."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from celeriac.visible import visible

if TYPE_CHECKING:
    from rich.console import Console


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a line."""
    click.echo(visible(str(text)), err=err)


def confirm(question: str, **options: Any) -> bool:
    """Ask for confirmation; see click.confirm."""
    return click.confirm(visible(question), **options)


def make_console(width: int | None = None, *, err: bool = False, **options: Any) -> Console:
    """Return a console of rich that makes control characters visible."""
    from rich.console import Console
    from rich.segment import Segment

    class VisibleConsole(Console):
        # Everything shown passes here as text, separate from its style.
        def render(self, *args: Any, **more: Any) -> Iterable[Segment]:
            for segment in super().render(*args, **more):
                text, style, control = segment
                yield segment if control else Segment(visible(text), style)

    stream: Mapping[str, Any] = {"stderr": True} if err else {"file": sys.stdout}
    return VisibleConsole(width=width, **stream, **options)
