"""Which dead letters: the options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from celeriac.cli.session import Session
from celeriac.cli.show import count
from celeriac.operation import Choice, choose, letter_at

F = TypeVar("F", bound=Callable[..., Any])


def choice_options(function: F) -> F:
    """`--handler`, `--type` and `--error`, given to the function as `choice`."""

    @click.option("--handler", metavar="NAME", help="Of this handler: billing.charge_card")
    @click.option("--type", "pattern", metavar="PATTERN", help="Of events: order.*, #.failed")
    @click.option("--error", metavar="TEXT", help="Whose error has this text.")
    @wraps(function)
    def chosen(
        *args: Any, handler: str | None, pattern: str | None, error: str | None, **options: Any
    ) -> Any:
        return function(*args, choice=Choice(handler, pattern, error), **options)

    return chosen  # type: ignore[return-value]


def selection_options(function: F) -> F:
    """Names, a choice, or `--all`, given as `names`, `choice` and `everything`; and `--yes`."""
    function = choice_options(function)
    function = click.option("--yes", is_flag=True, help="Do not ask.")(function)
    function = click.option("--all", "everything", is_flag=True, help="All of them.")(function)
    return click.argument("names", nargs=-1, metavar="[DEAD_LETTER]...")(function)


def select(
    session: Session, names: tuple[str, ...], choice: Choice, everything: bool
) -> list[tuple[str, str]]:
    """(domain, id) pairs; fixed before anything moves, so that what dies meanwhile is left."""
    if sum((bool(names), everything, choice != Choice())) != 1:
        raise click.UsageError("say which: names, or --handler, --type and --error, or --all")
    if names:
        found = [letter_at(session.backend, name) for name in dict.fromkeys(names)]
    else:
        found = list(choose(session.backend, choice))
    return [(letter.domain, letter.id) for letter in found]


def is_agreed(selected: list[tuple[str, str]], verb: str, yes: bool) -> bool:
    """Asks, unless told not to. Aborts the command on a no."""
    if not selected:
        click.echo("No dead letters.")
        return False
    return yes or click.confirm(f"{verb} {count(len(selected), 'dead letter')}?", abort=True)
