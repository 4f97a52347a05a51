"""`celeriac explain`"""

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
from celeriac.contract import schema_uri
from celeriac.contract.schema_uri import MAX_VERSION
from celeriac.errors import NotFound
from celeriac.event import build_event, decode, encode
from celeriac.event_log import is_entry
from celeriac.explain import (
    BusReader,
    Code,
    Explanation,
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
@click.option(
    "-A",
    "--app",
    "module",
    metavar="MODULE",
    help="Module of the EventBus: runs when= of its handlers.",
)
@click.option("--type", "type_", metavar="TYPE", help="Type of an event that is not emitted yet.")
@click.option("--data", metavar="JSON", help="Data of that event: JSON, `-` or @file.")
@click.option(
    "--version",
    type=click.IntRange(1, MAX_VERSION),
    help="Version of that data. [default: the newest]",
)
@click.option("--subject", help="Subject of that event.")
@click.option("--tenant", metavar="NAME", help="Tenant of that event.")
@click.option("--handlers", "only_for", metavar="NAMES", help="Handlers that it is addressed to.")
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
    version: int | None,
    subject: str | None,
    tenant: str | None,
    only_for: str | None,
    as_json: bool,
) -> None:
    """Show why a handler did or did not get an event.

    Shows the checks from emit to processed, in order, and marks the deciding one. Without HANDLER,
    shows the deciding check of each handler. EVENT_ID may be an entry of a log, `domain/entry`, if
    an event has several. With --type and --data, answers for an event before it is emitted; HANDLER
    is then the first argument. Only reads.
    """
    lease_ms = int(session.settings.lease * 1000)
    reading = BusReader(session.backend, lease_ms=lease_ms, code=_code(session, module))
    if type_ is not None:
        if handler is not None:
            raise click.UsageError(
                "EVENT_ID is not allowed with --type, which describes a new event. Pass "
                "HANDLER only."
            )
        name = event_id
        event = build_event(
            type_,
            read_data(data),
            source=source or session.settings.source,
            subject=subject,
            tenant=tenant,
            dataschema=schema_uri(type_, version) if version is not None else None,
            handlers=_names(only_for),
        )
        every = gather_unemitted(reading, decode(encode(event)), _chosen(reading, name))
        explanations = [explained(facts) for facts in every]
    elif event_id is None:
        raise click.UsageError("The event is missing. Pass EVENT_ID, or --type and --data.")
    elif {data, version, subject, tenant, only_for} != {None}:
        raise click.UsageError(
            "--type is missing. Pass it with --data, --version, --subject, --tenant and --handlers."
        )
    else:
        name = handler
        explanations = _of_event(session, reading, event_id, handler, source)
    if as_json:
        print_json([_plain(explanation) for explanation in explanations])
    elif name is None:
        draw_decisions(explanations)
    else:
        for n, explanation in enumerate(explanations):
            if n:
                echo()
            draw(explanation)


def _code(session: Session, module: str | None) -> Mapping[str, Code]:
    """Return the code of each handler, of the module or of the app of the command."""
    service = session.service if module is None else service_of(module)
    if service is None:
        return {}
    return {name: Code(handler, service.guard) for name, handler in service.handlers.items()}


def _chosen(reading: BusReader, name: str | None) -> Sequence[str]:
    names = [name] if name is not None else reading.names
    if not names:
        raise NotFound("No handler is registered. Start a worker: it registers its handlers.")
    return names


def _of_event(
    session: Session, reading: BusReader, event_id: str, name: str | None, source: str | None
) -> list[Explanation]:
    names = _chosen(reading, name)
    try:
        located = _located(session, event_id, source)
    except EventNotFound as error:
        every = gather_unfound(reading, event_id, names, source=source, is_partial=error.is_partial)
        explanations = [explained(facts) for facts in every]
        if name is None and all(item.decision.name == "emitted" for item in explanations):
            # One sentence, not the same one for each handler.
            raise
        return explanations
    return [explained(facts) for event in located for facts in gather(reading, event, names)]


def _located(session: Session, event_id: str, source: str | None) -> list[Located]:
    """Return the events with the id, or the one of the entry `domain/entry`."""
    domain, _, entry = event_id.rpartition("/")
    if is_entry(entry) and domain in session.backend.event_log.domains():
        return [session.matrix.at_entry(domain, entry)]
    return session.matrix.find_all(event_id, source=source)


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in given.split(",")] if given else []


def _plain(explanation: Explanation) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(explanation)
    return {**plain, "decision": explanation.decision.name}
