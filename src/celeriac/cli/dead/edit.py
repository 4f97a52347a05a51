"""`celeriac dead edit`"""

from __future__ import annotations

import secrets
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import msgspec

from celeriac.cli.dead.choice import choice_options, reason_option, select
from celeriac.cli.dispatcher import service_of
from celeriac.cli.group import FAILED
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console, count
from celeriac.cli.terminal import confirm, echo
from celeriac.cli.user import user_name
from celeriac.contract import read_data
from celeriac.contract.registered import RegisteredContracts
from celeriac.dead_letter import (
    Choice,
    DeadLetterEdit,
    Note,
    apply_edit,
    dead_letter_at,
    document_of,
    edit_dead_letter,
    patch_change,
)
from celeriac.dead_letter.edit import MAX_DIFF
from celeriac.delivery import DeadLetter
from celeriac.errors import CeleriacError, InvalidEvent, NotFound
from celeriac.handler import Handler

DIFFS_SHOWN = 3
Handlers = Mapping[str, Handler]


@click.command()
@click.argument("names", nargs=-1, metavar="[DEAD_LETTER]...")
@choice_options
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@click.option("--patch", metavar="JSON", help="RFC 6902: JSON, `-` or @file. [default: $EDITOR]")
@click.option("--dry-run", is_flag=True, help="Show the first differences and change nothing.")
@click.option(
    "-A",
    "--app",
    "module",
    metavar="MODULE",
    help="Module of the EventBus: also checks the data with its handlers.",
)
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_session
@click.pass_context
def edit(
    ctx: click.Context,
    session: Session,
    names: tuple[str, ...],
    choice: Choice,
    everything: bool,
    patch: str | None,
    dry_run: bool,
    module: str | None,
    reason: str,
    yes: bool,
) -> None:
    """Edit the event of a dead letter, and deliver it to its handler.

    Opens one dead letter in $EDITOR, or applies a JSON patch to all that are selected. The edited
    event has a new id, is delivered only to the handler that failed, and has the old event as its
    cause. The dead letter is deleted, and the difference is written to the audit log. Data that
    does not match the registered contract is refused.
    """
    service = session.service if module is None else service_of(module)
    handlers: Handlers = {} if service is None else service.handlers
    contracts = RegisteredContracts.read(session.backend.contracts)
    if patch is None:
        if len(names) != 1 or everything or choice != Choice():
            raise click.UsageError(
                "--patch is missing. Name one dead letter to edit it in $EDITOR, or pass --patch."
            )
        if dry_run:
            raise click.UsageError("--patch is missing. Pass it with --dry-run.")
        dead_letter = dead_letter_at(session.backend, names[0])
        edits, faults = [_edit_in_editor(session, dead_letter, contracts, handlers)], Counter[str]()
    else:
        change = patch_change(_read(patch))
        edits, faults = [], Counter[str]()
        for item in select(session, names, choice, everything):
            try:
                dead_letter = dead_letter_at(session.backend, f"{item.domain}/{item.id}")
                edits.append(_edit(session, dead_letter, change, contracts, handlers))
            except (InvalidEvent, NotFound) as error:
                faults[_reason(error, f"{item.domain}/{item.id}")] += 1
    _show(edits)
    if not edits and not faults:
        echo("No dead letters.")
    elif edits and not dry_run:
        if not yes:
            confirm(f"Edit {count(len(edits), 'dead letter')}?", abort=True)
        _apply(session, edits, reason, faults)
    elif dry_run:
        echo(f"{count(len(edits), 'dead letter')} would be edited; nothing was changed")
    for fault, number in sorted(faults.items()):
        echo(f"{number:,} not edited: {fault}", err=True)
    if faults:
        ctx.exit(FAILED)


def _edit(
    session: Session,
    dead_letter: DeadLetter,
    change: Callable[[Any], Any],
    contracts: RegisteredContracts,
    handlers: Handlers,
) -> DeadLetterEdit:
    """Return the edit. Its data is also checked by the handler's code, if that is available."""
    edit = edit_dead_letter(dead_letter, change, contracts, session.settings.sensitive_names)
    handler = handlers.get(dead_letter.handler)
    if handler is not None:
        read_data(edit.event, handler.data_type_of(edit.event.type))
    return edit


def _edit_in_editor(
    session: Session, dead_letter: DeadLetter, contracts: RegisteredContracts, handlers: Handlers
) -> DeadLetterEdit:
    """Open the event in $EDITOR, again after an invalid edit until the user gives up."""
    text = msgspec.json.format(msgspec.json.encode(document_of(dead_letter)), indent=2).decode()
    while True:
        edited = click.edit(text + "\n", extension=".json", require_save=True)
        if edited is None:
            raise click.Abort
        try:
            return _edit(session, dead_letter, _replaced_by(edited), contracts, handlers)
        except InvalidEvent as error:
            echo(f"Error: {error}", err=True)
            confirm("Edit again?", default=True, abort=True, err=True)
            text = edited.rstrip("\n")


def _replaced_by(text: str) -> Callable[[Any], Any]:
    def change(_: Any) -> Any:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise InvalidEvent(f"the edited event is not valid JSON: {error}") from None

    return change


def _read(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        with open(given[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise click.BadParameter(f"{given}: {error.strerror}", param_hint="--patch") from None


def _reason(error: CeleriacError, name: str) -> str:
    """Return the error without the name of the dead letter, so that equal errors are counted."""
    return str(error).replace(name, "the dead letter")


def _show(edits: Sequence[DeadLetterEdit]) -> None:
    from rich.text import Text

    out = console()
    for edit in edits[:DIFFS_SHOWN]:
        title = f"{edit.name}  {edit.dead_letter.handler}  {edit.event.type}"
        out.print(Text(title, style="bold"), soft_wrap=True)
        for line in edit.lines() or ["  (only sensitive values differ)"]:
            style = {"+": "green", "-": "red"}.get(line[:1], "dim")
            out.print(Text(line, style=style), soft_wrap=True)
    if len(edits) > DIFFS_SHOWN:
        echo(f"and {count(len(edits) - DIFFS_SHOWN, 'more dead letter')}")


def _apply(
    session: Session, edits: Sequence[DeadLetterEdit], reason: str, faults: Counter[str]
) -> None:
    records, operation = session.backend.registry.handlers(), secrets.token_hex(8)
    done = gone = 0
    for change in edits:
        note = Note(
            actor=user_name(),
            did="edit",
            what=change.name if len(edits) == 1 else f"{len(edits)} dead letters",
            via="celeriac",
            operation=operation,
            reason=reason,
            diff=change.patch[:MAX_DIFF],
        ).encode()
        try:
            if apply_edit(session.backend, records, session.settings, change, note):
                done += 1
                if len(edits) == 1:
                    echo(change.event.id)
            else:
                gone += 1
        except (InvalidEvent, NotFound) as error:
            faults[_reason(error, change.name)] += 1
    rest = f", {gone:,} no longer existed" if gone else ""
    echo(f"{count(done, 'dead letter')} edited{rest}")
