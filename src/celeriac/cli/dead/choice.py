"""Which dead letters: the options that commands share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from celeriac.cli.session import Session
from celeriac.cli.show import count
from celeriac.cli.terminal import confirm, echo
from celeriac.dead_letter import Choice, choose, letter_at, type_of
from celeriac.delivery import exception_of

F = TypeVar("F", bound=Callable[..., Any])
MAX_GROUPS_SHOWN = 20


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


def reason_option(function: F) -> F:
    """`--reason`, given as `reason`."""
    return click.option(
        "--reason", default="", metavar="TEXT", help="Why, for the audit log and the history."
    )(function)


def selection_options(function: F) -> F:
    """Names, a choice, or `--all`, given as `names`, `choice` and `everything`; `--reason` and
    `--yes`."""
    function = reason_option(choice_options(function))
    function = click.option("--yes", is_flag=True, help="Do not ask.")(function)
    function = click.option("--all", "everything", is_flag=True, help="All of them.")(function)
    return click.argument("names", nargs=-1, metavar="[DEAD_LETTER]...")(function)


@dataclass(frozen=True, slots=True)
class Selected:
    """A dead letter that a command is about to change, without its event."""

    domain: str
    id: str
    handler: str
    type: str
    exception: str


def select(
    session: Session, names: tuple[str, ...], choice: Choice, everything: bool
) -> list[Selected]:
    """Return the dead letters to change, fixed before anything moves.

    Raises click.UsageError without a choice, NotFound for a handler or a letter that is unknown.
    """
    if sum((bool(names), everything, choice != Choice())) != 1:
        raise click.UsageError("say which: names, or --handler, --type and --error, or --all")
    letters = (
        (letter_at(session.backend, name) for name in dict.fromkeys(names))
        if names
        else choose(session.backend, choice)
    )
    found = [
        Selected(one.domain, one.id, one.handler, type_of(one), exception_of(one.error))
        for one in letters
    ]
    if not found:
        check_handler(session, choice)
    return found


def check_handler(session: Session, choice: Choice) -> None:
    """Raises NotFound if the choice names a handler that is not registered."""
    if choice.handler is not None:
        session.handler(choice.handler)


def is_agreed(selected: list[Selected], verb: str, yes: bool) -> bool:
    """Name what is selected, and ask unless `yes`. Aborts the command on a no."""
    if not selected:
        echo("No dead letters.")
        return False
    groups = Counter((one.handler, one.type, one.exception) for one in selected)
    for (handler, type, exception), number in groups.most_common(MAX_GROUPS_SHOWN):
        echo(f"  {number:>6,}  {handler}  {type or 'no event'}  {exception}".rstrip())
    if len(groups) > MAX_GROUPS_SHOWN:
        echo(f"  and {count(len(groups) - MAX_GROUPS_SHOWN, 'more group')}")
    return yes or confirm(f"{verb} {count(len(selected), 'dead letter')}?", abort=True)
