"""celeriac explain"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from celeriac.cli.dispatcher import service_of
from celeriac.cli.document import json_option, print_json
from celeriac.cli.emit import read_data
from celeriac.cli.explain.draw import draw, draw_decisions
from celeriac.cli.session import Session, pass_session
from celeriac.cli.source import source_option
from celeriac.cli.terminal import echo
from celeriac.errors import NotFound
from celeriac.event import build_event, decode, encode
from celeriac.explain import (
    Code,
    Explanation,
    gather,
    gather_unemitted,
    gather_unfound,
)
from celeriac.explain import explain as explained
from celeriac.log import is_entry
from celeriac.matrix import EventNotFound, Located


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
    code = _code(session, module)
    if type_ is not None:
        if handler is not None:
            raise click.UsageError(
                "--type describes an event that has no id yet: give HANDLER only"
            )
        described = {"type": type_, "subject": subject, "handlers": _names(only_for)}
        name, source = event_id, source or session.settings.source
        found = _unemitted(session, name, described, read_data(data), source, code)
    elif event_id is None:
        raise click.UsageError("give EVENT_ID and HANDLER, or --type and --data")
    elif data is not None or subject is not None or only_for is not None:
        raise click.UsageError(
            "--data, --subject and --handlers describe an event: give --type too"
        )
    else:
        name = handler
        found = _of_event(session, event_id, handler, source, code)
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


def _handlers(session: Session, name: str | None, code: Mapping[str, Code]) -> Sequence[str]:
    if name is not None:
        return [name]
    names = sorted({*session.backend.registry.handlers(), *code})
    if not names:
        raise NotFound("no handler is registered; a handler is registered when its worker starts")
    return names


def _unemitted(
    session: Session,
    handler: str | None,
    described: Mapping[str, Any],
    data: Any,
    source: str,
    code: Mapping[str, Code],
) -> list[Explanation]:
    event = decode(encode(build_event(data=data, source=source, **described)))
    lease_ms = int(session.settings.lease * 1000)
    return [
        explained(
            gather_unemitted(session.backend, name, event, lease_ms=lease_ms, code=code.get(name))
        )
        for name in _handlers(session, handler, code)
    ]


def _of_event(
    session: Session,
    event_id: str,
    handler: str | None,
    source: str | None,
    code: Mapping[str, Code],
) -> list[Explanation]:
    backend, lease_ms = session.backend, int(session.settings.lease * 1000)
    names = _handlers(session, handler, code)
    try:
        located = _located(session, event_id, source)
    except EventNotFound as error:
        partial = error.is_partial
        return [
            explained(
                gather_unfound(
                    backend, name, event_id, lease_ms=lease_ms, source=source, is_partial=partial
                )
            )
            for name in names
        ]
    return [
        explained(gather(backend, name, one, lease_ms=lease_ms, code=code.get(name)))
        for one in located
        for name in names
    ]


def _located(session: Session, event_id: str, source: str | None) -> list[Located]:
    """The events with the id, or the one of the entry `domain/entry`."""
    domain, _, entry = event_id.rpartition("/")
    if is_entry(entry) and domain in session.backend.log.domains():
        return [session.matrix.at_entry(domain, entry)]
    return session.matrix.find_all(event_id, source=source)


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in given.split(",")] if given else []


def _plain(one: Explanation) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return {**plain, "decision": one.decision.name}
