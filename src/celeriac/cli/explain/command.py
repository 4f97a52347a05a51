"""celeriac explain"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from celeriac.cli.dispatcher import service_of
from celeriac.cli.emit import read_data
from celeriac.cli.explain.draw import draw, draw_decisions
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.source import source_option
from celeriac.cli.terminal import echo
from celeriac.errors import NotFound
from celeriac.event import build_event, decode, encode
from celeriac.event_log import is_entry
from celeriac.explain import (
    Code,
    Explanation,
    Reading,
    gather,
    gather_unemitted,
    gather_unfound,
)
from celeriac.explain import explain as explained
from celeriac.tracking import EventNotFound, Located


@click.command()
@click.argument("event_id", required=False)
@click.argument("handler", required=False)
@source_option
@click.option("-A", "--app", "module", metavar="MODULE", help="Has the handlers: runs their when=.")
@click.option("--type", "type_", metavar="TYPE", help="Of an event that is not emitted yet.")
@click.option("--data", metavar="JSON", help="Its data: JSON, `-` or @file.")
@click.option("--subject", help="Its subject.")
@click.option("--handlers", "only_for", metavar="NAMES", help="Whom it is addressed to.")
@json_option
@pass_session
def explain(
    session: Session,
    event_id: str | None,
    handler: str | None,
    source: str | None,
    module: str | None,
    type_: str | None,
    data: str | None,
    subject: str | None,
    only_for: str | None,
    as_json: bool,
) -> None:
    """Why a handler did, or did not, get an event.

    Shows the checks from emit to processed, in order; the deciding one is marked. Without
    HANDLER it shows what decides for each handler. EVENT_ID may also be an entry of a log,
    domain/entry, for one of several entries of an event. With --type and --data it answers for an
    event before it is emitted, and HANDLER is the first argument. It changes nothing.
    """
    lease_ms = int(session.settings.lease * 1000)
    reading = Reading(session.backend, lease_ms=lease_ms, code=_code(session, module))
    if type_ is not None:
        if handler is not None:
            raise click.UsageError(
                "--type describes an event that has no id yet: give HANDLER only"
            )
        name = event_id
        event = build_event(
            type_,
            read_data(data),
            source=source or session.settings.source,
            subject=subject,
            handlers=_names(only_for),
        )
        every = gather_unemitted(reading, decode(encode(event)), _chosen(reading, name))
        found = [explained(facts) for facts in every]
    elif event_id is None:
        raise click.UsageError("give EVENT_ID and HANDLER, or --type and --data")
    elif data is not None or subject is not None or only_for is not None:
        raise click.UsageError(
            "--data, --subject and --handlers describe an event: give --type too"
        )
    else:
        name = handler
        found = _of_event(session, reading, event_id, handler, source)
    if as_json:
        print_json([_plain(one) for one in found])
    elif name is None:
        draw_decisions(found)
    else:
        for n, one in enumerate(found):
            if n:
                echo()
            draw(one)


def _code(session: Session, module: str | None) -> Mapping[str, Code]:
    """Handler → its code: of the module, else of the app for which the command runs."""
    service = session.service if module is None else service_of(module)
    if service is None:
        return {}
    return {name: Code(handler, service.guard) for name, handler in service.handlers.items()}


def _chosen(reading: Reading, name: str | None) -> Sequence[str]:
    names = [name] if name is not None else reading.names
    if not names:
        raise NotFound("no handler is registered; a handler is registered when its worker starts")
    return names


def _of_event(
    session: Session, reading: Reading, event_id: str, name: str | None, source: str | None
) -> list[Explanation]:
    names = _chosen(reading, name)
    try:
        located = _located(session, event_id, source)
    except EventNotFound as error:
        every = gather_unfound(reading, event_id, names, source=source, is_partial=error.is_partial)
    else:
        every = [facts for one in located for facts in gather(reading, one, names)]
    return [explained(facts) for facts in every]


def _located(session: Session, event_id: str, source: str | None) -> list[Located]:
    """The events with the id, or the one of the entry `domain/entry`."""
    domain, _, entry = event_id.rpartition("/")
    if is_entry(entry) and domain in session.backend.event_log.domains():
        return [session.matrix.at_entry(domain, entry)]
    return session.matrix.find_all(event_id, source=source)


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in given.split(",")] if given else []


def _plain(one: Explanation) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return {**plain, "decision": one.decision.name}
