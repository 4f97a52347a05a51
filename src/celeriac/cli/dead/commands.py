"""`celeriac dead`"""

from __future__ import annotations

import secrets
from typing import Any

import click
import msgspec

from celeriac.cli.dead.choice import (
    check_handler,
    choice_options,
    is_agreed,
    select,
    selection_options,
)
from celeriac.cli.dead.edit import edit
from celeriac.cli.group import FAILED
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.reveal import reveal_option
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console, count, duration, set_columns, state_text, table, when
from celeriac.cli.terminal import echo
from celeriac.cli.user import user_name
from celeriac.dead_letter import (
    Choice,
    ErasedData,
    Note,
    choose,
    dead_letter_at,
    discard_dead_letters,
    redrive_dead_letter,
    tenant_of,
    type_of,
)
from celeriac.delivery import DeadLetter
from celeriac.errors import NotFound
from celeriac.unreadable import UNREADABLE

# An id is unique within its domain.
NAME = "{0.domain}/{0.id}"


@click.group()
def dead() -> None:
    """List, show, redrive, edit and discard dead letters.

    Each is named `domain/id`, as in `dead list`.
    """


dead.add_command(edit)


@dead.command("list")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number."
)
@json_option
@reveal_option
@choice_options
@pass_session
def list_(session: Session, choice: Choice, limit: int, as_json: bool, reveal: bool) -> None:
    """List dead letters, the newest first."""
    dead_letters = list(choose(session.backend, choice, newest_first=True, limit=limit))
    if not dead_letters:
        check_handler(session, choice)
    if as_json:
        erased = ErasedData(session.backend)
        print_json(
            [
                _plain(dead_letter, _event(session, dead_letter, reveal, erased))
                for dead_letter in dead_letters
            ]
        )
        return
    if not dead_letters:
        echo("No dead letters.")
        return
    now_ms = session.backend.registry.now_ms()
    headers, rows = set_columns(
        ("dead letter", "age", "handler", "event", "tenant", "tries", "error"),
        [
            (
                NAME.format(dead_letter),
                duration((now_ms - dead_letter.last_failed_ms) / 1000),
                dead_letter.handler,
                type_of(dead_letter),
                tenant_of(dead_letter),
                dead_letter.attempts,
                state_text("dead", dead_letter.error),
            )
            for dead_letter in dead_letters
        ],
        optional="tenant",
    )
    table(
        headers,
        rows,
        right=("age", "tries"),
        fold={"handler": 12, "event": 12, "tenant": 10, "error": 20},
        shed=("tries", "age"),
    )
    total = sum(map(session.backend.deliveries.dead_count, session.backend.event_log.domains()))
    if total > len(dead_letters):
        echo(f"\n{len(dead_letters):,} shown of {total:,}")


@dead.command()
@click.argument("name", metavar="DEAD_LETTER")
@json_option
@reveal_option
@pass_session
def show(session: Session, name: str, as_json: bool, reveal: bool) -> None:
    """Show one dead letter: error, traceback and event."""
    dead_letter = dead_letter_at(session.backend, name)
    event = _event(session, dead_letter, reveal, ErasedData(session.backend))
    if as_json:
        print_json(_plain(dead_letter, event))
    else:
        _show(dead_letter, event)


def _event(session: Session, dead_letter: DeadLetter, reveal: bool, erased: ErasedData) -> Any:
    """Return the event as JSON values, masked unless `reveal`; as text if it is not valid JSON."""
    if not reveal:
        return erased.envelope(dead_letter.event, session.settings.sensitive_names)
    try:
        return msgspec.json.decode(dead_letter.event)
    except UNREADABLE:
        return dead_letter.event.decode(errors="replace")


def _show(dead_letter: DeadLetter, event: Any) -> None:
    from rich.text import Text

    out = console()
    out.print(Text.assemble((type_of(dead_letter), "bold"), " → ", (dead_letter.handler, "bold")))
    facts = {
        "name": NAME.format(dead_letter),
        "event": dead_letter.event_id,
        "attempts": str(dead_letter.attempts),
        "first failed": when(dead_letter.first_failed_ms),
        "last failed": when(dead_letter.last_failed_ms),
        "error": dead_letter.error,
    }
    for fact, value in facts.items():
        out.print(Text.assemble((f"  {fact:<12}", "dim"), " ", value), soft_wrap=True)
    body = event if isinstance(event, str) else msgspec.json.encode(event).decode()
    for text in (dead_letter.traceback.rstrip(), body):
        if text:
            out.print()
            out.print(Text(text), soft_wrap=True)


@dead.command()
@selection_options
@pass_session
@click.pass_context
def redrive(
    ctx: click.Context,
    session: Session,
    names: tuple[str, ...],
    choice: Choice,
    everything: bool,
    reason: str,
    yes: bool,
) -> None:
    """Deliver dead letters again, each to its handler only, with all attempts."""
    selected = select(session, names, choice, everything)
    if not is_agreed(selected, "Redrive", yes):
        return
    records = session.backend.registry.handlers()
    note = _note("redrive", names, choice, reason)
    done, faults = 0, []
    for dead_letter in selected:
        try:
            done += redrive_dead_letter(
                session.backend, records, dead_letter.domain, dead_letter.id, note
            )
        except NotFound as error:
            faults.append(str(error))
    _report(ctx, "redriven", done, len(selected) - done - len(faults), faults)


@dead.command()
@selection_options
@pass_session
@click.pass_context
def discard(
    ctx: click.Context,
    session: Session,
    names: tuple[str, ...],
    choice: Choice,
    everything: bool,
    reason: str,
    yes: bool,
) -> None:
    """Discard dead letters permanently. The events stay in the log until retention ends."""
    selected = select(session, names, choice, everything)
    if is_agreed(selected, "Discard permanently", yes):
        pairs = [(dead_letter.domain, dead_letter.id) for dead_letter in selected]
        done = discard_dead_letters(session.backend, pairs, _note("discard", names, choice, reason))
        _report(ctx, "discarded", done, len(selected) - done, [])


def _note(verb: str, names: tuple[str, ...], choice: Choice, reason: str) -> bytes:
    """Return the note for the audit log."""
    filters = {
        "handler": choice.handler,
        "type": choice.pattern,
        "tenant": choice.tenant,
        "error": choice.error,
    }
    what = " ".join(f"{name}={value}" for name, value in filters.items() if value is not None)
    named = names[0] if len(names) == 1 else f"{len(names)} dead letters" if names else ""
    operation = secrets.token_hex(8)
    note = Note(
        actor=user_name(),
        did=verb,
        what=what or named or "all",
        via="celeriac",
        operation=operation,
        reason=reason,
    )
    return note.encode()


def _report(ctx: click.Context, verb: str, done: int, gone: int, faults: list[str]) -> None:
    rest = f", {gone:,} no longer existed" if gone else ""
    echo(f"{count(done, 'dead letter')} {verb}{rest}")
    for fault in sorted(set(faults)):
        echo(f"{faults.count(fault):,} not {verb}: {fault}", err=True)
    if faults:
        ctx.exit(FAILED)


def _plain(dead_letter: DeadLetter, event: Any) -> dict[str, Any]:
    shown = {name: getattr(dead_letter, name) for name in dead_letter.__slots__}
    return {"name": NAME.format(dead_letter), "type": type_of(dead_letter), **shown, "event": event}
