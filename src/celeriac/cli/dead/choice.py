"""The options that select dead letters."""

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
from celeriac.dead_letter import Choice, choose, dead_letter_at, type_of
from celeriac.delivery import exception_of

F = TypeVar("F", bound=Callable[..., Any])
MAX_GROUPS_SHOWN = 20


def choice_options(function: F) -> F:
    """Add the options `--handler`, `--type`, `--tenant` and `--error`, passed as `choice`."""

    @click.option(
        "--handler", metavar="NAME", help="Dead letters of a handler: billing.charge_card"
    )
    @click.option(
        "--type", "pattern", metavar="PATTERN", help="Events of these types: order.*, #.failed"
    )
    @click.option("--tenant", metavar="NAME", help="Events of this tenant: acme")
    @click.option("--error", metavar="TEXT", help="Errors that contain the text.")
    @wraps(function)
    def chosen(
        *args: Any,
        handler: str | None,
        pattern: str | None,
        tenant: str | None,
        error: str | None,
        **options: Any,
    ) -> Any:
        choice = Choice(handler, pattern, error, tenant=tenant)
        return function(*args, choice=choice, **options)

    return chosen  # type: ignore[return-value]


def reason_option(function: F) -> F:
    """Add the option `--reason`, passed as `reason`."""
    return click.option(
        "--reason", default="", metavar="TEXT", help="Reason, for the audit log and the history."
    )(function)


def selection_options(function: F) -> F:
    """Add names, a choice, `--all`, `--reason` and `--yes`.

    Names are passed as `names`, the choice as `choice`, and `--all` as `everything`.
    """
    function = reason_option(choice_options(function))
    function = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(function)
    function = click.option("--all", "everything", is_flag=True, help="All dead letters.")(function)
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
    """Return the dead letters to change, as they are before the first change.

    Raises click.UsageError without a choice, NotFound if a handler or a dead letter does not exist.
    """
    if sum((bool(names), everything, choice != Choice())) != 1:
        raise click.UsageError(
            "No dead letter is selected. Pass names, or --handler, --type, --tenant and --error, "
            "or --all."
        )
    dead_letters = (
        (dead_letter_at(session.backend, name) for name in dict.fromkeys(names))
        if names
        else choose(session.backend, choice)
    )
    selected = [
        Selected(
            dead_letter.domain,
            dead_letter.id,
            dead_letter.handler,
            type_of(dead_letter),
            exception_of(dead_letter.error),
        )
        for dead_letter in dead_letters
    ]
    if not selected:
        check_handler(session, choice)
    return selected


def check_handler(session: Session, choice: Choice) -> None:
    """Raise NotFound if the choice names a handler that is not registered."""
    if choice.handler is not None:
        session.handler(choice.handler)


def is_agreed(selected: list[Selected], verb: str, yes: bool) -> bool:
    """Print the selection and ask for confirmation, unless `yes`. Abort the command if declined."""
    if not selected:
        echo("No dead letters.")
        return False
    groups = Counter((item.handler, item.type, item.exception) for item in selected)
    for (handler, type, exception), number in groups.most_common(MAX_GROUPS_SHOWN):
        echo(f"  {number:>6,}  {handler}  {type or 'no event'}  {exception}".rstrip())
    if len(groups) > MAX_GROUPS_SHOWN:
        echo(f"  and {count(len(groups) - MAX_GROUPS_SHOWN, 'more group')}")
    return yes or confirm(f"{verb} {count(len(selected), 'dead letter')}?", abort=True)
