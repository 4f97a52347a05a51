"""`celeriac emit`"""

from __future__ import annotations

import codecs
import sys
from contextlib import suppress
from typing import Any

import click
import msgspec
import redis

from celeriac.cli.session import Session, pass_session
from celeriac.cli.terminal import echo
from celeriac.cli.time_param import DURATION
from celeriac.contract import schema_uri
from celeriac.contract.registered import RegisteredContracts
from celeriac.contract.schema_uri import FIRST, MAX_VERSION
from celeriac.emitter import Emitter
from celeriac.unreadable import UNREADABLE


@click.command()
@click.argument("type")
@click.argument("json", required=False)
@click.option(
    "--version",
    type=click.IntRange(FIRST, MAX_VERSION),
    help="Version of the data, for a type with contracts. [default: 1]",
)
@click.option("--subject", help="Subject of the event: order/42")
@click.option(
    "--id", "event_id", help="Id of the event; an id is emitted once. [default: a new one]"
)
@click.option(
    "--delay", type=DURATION, metavar="DURATION", help="Emit it after this time: 30s, 1h, 2d."
)
@click.option(
    "--handlers", metavar="NAMES", help="Only for these handlers: billing.charge,mail.send"
)
@click.option("--tenant", metavar="NAME", help="Tenant that the event belongs to: acme")
@click.option("--sensitive", metavar="PATHS", help="Paths to mask: card,customer.email")
@click.option("--encrypt-for", metavar="NAMES", help="Services that can decrypt it: billing,mail")
@pass_session
def emit(
    session: Session,
    type: str,
    json: str | None,
    version: int | None,
    subject: str | None,
    event_id: str | None,
    delay: float | None,
    handlers: str | None,
    tenant: str | None,
    sensitive: str | None,
    encrypt_for: str | None,
) -> None:
    """Emit one event and print its id.

    JSON is its data: inline, `-` for standard input, or `@file`.
    """
    emitter = Emitter(session.settings, lambda: session.backend.event_log)
    given: dict[str, Any] = {"subject": subject, "id": event_id, "tenant": tenant}
    if version is not None:
        given["dataschema"] = schema_uri(type, version)
    else:
        _check_first_version(session, type)
    if encrypt_for is not None:
        given["encrypt_for"] = _listed(encrypt_for)
    event = emitter.build(
        type,
        read_data(json),
        handlers=_listed(handlers),
        sensitive=_listed(sensitive),
        **{name: value for name, value in given.items() if value is not None},
    )
    echo(emitter.emit(event, delay=delay, made=event_id is None))


def _check_first_version(session: Session, type: str) -> None:
    """Check that data without a version is not meant as that of a later one.

    Readers would run their upcasters on it. Raises UsageError.
    """
    newest = FIRST
    # Without Redis, or the right to read the registry, the emit itself has the better error.
    with suppress(redis.RedisError):
        newest = RegisteredContracts.read(session.backend.contracts).newest(type)
    if newest > FIRST:
        raise click.UsageError(
            f"--version is missing: {type} has version {newest}. Pass the version of the data."
        )


def _listed(given: str | None) -> list[str]:
    return [name.strip() for name in given.split(",")] if given else []


def read_data(given: str | None) -> Any:
    """Return the JSON that was passed inline, as `-` for standard input, or as `@file`."""
    if given is None:
        return None
    try:
        if given == "-":
            raw = sys.stdin.buffer.read()
        elif given.startswith("@"):
            with open(given[1:], "rb") as file:
                raw = file.read()
        else:
            raw = given.encode()
        # Editors on Windows begin a file with a byte order mark.
        return msgspec.json.decode(raw.removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise click.BadParameter(f"{given}: {error.strerror}", param_hint="JSON") from None
    except UNREADABLE as error:
        text = f"{given}: {error}"
        if given != "-" and not given.startswith("@"):
            text = f"{error}. Write a text with its double quotes, '\"hello\"', and an object as "
            text += "'{\"number\": 42}'"
        raise click.BadParameter(text, param_hint="JSON") from None
