"""celeriac dead"""

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
from celeriac.cli.show import age, console, count, state_text, table, when
from celeriac.cli.terminal import echo
from celeriac.cli.user import user_name
from celeriac.dead_letter import (
    Choice,
    Note,
    choose,
    discard_letters,
    letter_at,
    redrive_letter,
    type_of,
)
from celeriac.delivery import DeadLetter
from celeriac.errors import NotFound
from celeriac.event import masked_envelope

# An id is unique within its domain.
NAME = "{0.domain}/{0.id}"


@click.group()
def dead() -> None:
    """Deliveries that were given up.

    Each is named `domain/id`, as `dead list` shows it.
    """


dead.add_command(edit)


@dead.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most.")
@json_option
@reveal_option
@choice_options
@pass_session
def list_(session: Session, choice: Choice, limit: int, as_json: bool, reveal: bool) -> None:
    """Lists dead letters, the newest first."""
    found = list(choose(session.backend, choice, newest_first=True, most=limit))
    if not found:
        check_handler(session, choice)
    if as_json:
        print_json([_plain(letter, _event(session, letter, reveal)) for letter in found])
        return
    if not found:
        echo("No dead letters.")
        return
    now_ms = session.backend.registry.now_ms()
    table(
        ("dead letter", "age", "handler", "event", "tries", "error"),
        [
            (
                NAME.format(letter),
                age((now_ms - letter.last_failed_ms) / 1000),
                letter.handler,
                type_of(letter),
                letter.attempts,
                state_text("dead", letter.error),
            )
            for letter in found
        ],
        right=("age", "tries"),
        fold={"handler": 12, "event": 12, "error": 20},
        shed=("tries", "age"),
    )
    total = sum(map(session.backend.deliveries.dead_count, session.backend.event_log.domains()))
    if total > len(found):
        echo(f"\n{len(found):,} shown of {total:,}")


@dead.command()
@click.argument("name", metavar="DEAD_LETTER")
@json_option
@reveal_option
@pass_session
def show(session: Session, name: str, as_json: bool, reveal: bool) -> None:
    """Shows one dead letter: error, traceback and event."""
    letter = letter_at(session.backend, name)
    event = _event(session, letter, reveal)
    if as_json:
        print_json(_plain(letter, event))
    else:
        _show(letter, event)


def _event(session: Session, letter: DeadLetter, reveal: bool) -> Any:
    """The event as JSON values, masked unless it shall not be; a text where it is no event."""
    if not reveal:
        return masked_envelope(letter.event, session.settings.sensitive_names)
    try:
        return msgspec.json.decode(letter.event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return letter.event.decode(errors="replace")


def _show(letter: DeadLetter, event: Any) -> None:
    from rich.text import Text

    out = console()
    out.print(Text.assemble((letter.handler, "bold"), " gave up ", (type_of(letter), "bold")))
    facts = {
        "name": NAME.format(letter),
        "event": letter.event_id,
        "attempts": str(letter.attempts),
        "first failed": when(letter.first_failed_ms),
        "last failed": when(letter.last_failed_ms),
        "error": letter.error,
    }
    for fact, value in facts.items():
        out.print(Text.assemble((f"  {fact:<12}", "dim"), " ", value), soft_wrap=True)
    body = event if isinstance(event, str) else msgspec.json.encode(event).decode()
    for text in (letter.traceback.rstrip(), body):
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
    """Has dead letters delivered again, to the handler that gave them up."""
    selected = select(session, names, choice, everything)
    if not is_agreed(selected, "Redrive", yes):
        return
    records = session.backend.registry.handlers()
    note = _note("redrive", names, choice, reason)
    done, faults = 0, []
    for letter in selected:
        try:
            done += redrive_letter(session.backend, records, letter.domain, letter.id, note)
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
    """Removes dead letters permanently. The events stay in the log until retention ends."""
    selected = select(session, names, choice, everything)
    if is_agreed(selected, "Discard permanently", yes):
        pairs = [(letter.domain, letter.id) for letter in selected]
        done = discard_letters(session.backend, pairs, _note("discard", names, choice, reason))
        _report(ctx, "discarded", done, len(selected) - done, [])


def _note(verb: str, names: tuple[str, ...], choice: Choice, reason: str) -> bytes:
    """For the audit log, which Flower shows."""
    said = {"handler": choice.handler, "type": choice.pattern, "error": choice.error}
    what = " ".join(f"{name}={value}" for name, value in said.items() if value is not None)
    named = names[0] if len(names) == 1 else f"{len(names)} dead letters" if names else ""
    operation = secrets.token_hex(8)
    note = Note(
        who=user_name(),
        did=verb,
        what=what or named or "all",
        via="celeriac",
        operation=operation,
        reason=reason,
    )
    return note.encode()


def _report(ctx: click.Context, verb: str, done: int, gone: int, faults: list[str]) -> None:
    rest = f", {gone:,} were gone" if gone else ""
    echo(f"{count(done, 'dead letter')} {verb}{rest}")
    for fault in sorted(set(faults)):
        echo(f"{faults.count(fault):,} not {verb}: {fault}", err=True)
    if faults:
        ctx.exit(FAILED)


def _plain(letter: DeadLetter, event: Any) -> dict[str, Any]:
    shown = {name: getattr(letter, name) for name in letter.__slots__}
    return {"name": NAME.format(letter), "type": type_of(letter), **shown, "event": event}
