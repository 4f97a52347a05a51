"""celeriac keys"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from celeriac.cli.group import Failure
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import table
from celeriac.cli.terminal import echo
from celeriac.security.generate import generate as make
from celeriac.security.key import ENCRYPTION, SIGNING, public_keys


@click.group()
def keys() -> None:
    """Makes and shows the keys that events are signed with, and encrypted for.

    They are JSON Web Keys in files: NAME.private.json is for one service alone, NAME.public.json
    for all that read.
    """


@keys.command()
@click.argument("name")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="May sign only for it.")
@click.option("--type", "types", multiple=True, metavar="PATTERN", help="May sign only those.")
@click.option("--encryption", is_flag=True, help="To encrypt for a service, not to sign.")
@click.option("--service", metavar="NAME", help="With --encryption: whose key. [default: NAME]")
@click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), default=".", help="Where to."
)
def generate(
    name: str,
    sources: tuple[str, ...],
    types: tuple[str, ...],
    encryption: bool,
    service: str | None,
    directory: Path,
) -> None:
    """Makes a key pair; NAME is its id, as billing-2026.

    Files that are there are not overwritten.
    """
    if encryption and (sources or types):
        raise click.UsageError("--source and --type are for keys that sign")
    if service and not encryption:
        raise click.UsageError("--service is for keys to encrypt for: add --encryption")
    private, public = make(
        name, sources=sources, types=types, encryption=encryption, service=service or ""
    )
    directory.mkdir(parents=True, exist_ok=True)
    for key, part, mode in ((private, "private", 0o600), (public, "public", 0o644)):
        path = directory / f"{name}.{part}.json"
        _write(path, key, mode)
        echo(path)


def _write(path: Path, key: dict[str, Any], mode: int) -> None:
    text = msgspec.json.format(msgspec.json.encode(key), indent=2) + b"\n"
    try:
        # made with its mode, so that nobody reads it in between
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise Failure(f"{path} is there already; a new key needs a new name") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)


@keys.command()
@click.argument("path", required=False)
@pass_session
def show(session: Session, path: str | None) -> None:
    """Shows the public keys in a file or directory; those that are trusted by default."""
    given = path or session.settings.trusted_keys
    if not given:
        raise Failure("no keys are trusted; CELERIAC_TRUSTED_KEYS names them")
    setting = "PATH" if path else "CELERIAC_TRUSTED_KEYS"
    rows = [
        (
            key.id,
            "signs" if curve == SIGNING else f"is encrypted for {key.service}",
            "all" if key.sources is None else ", ".join(sorted(key.sources)),
            "all" if key.types is None else ", ".join(p.text for p in key.types.patterns),
        )
        for curve in (SIGNING, ENCRYPTION)
        for key in public_keys(given, setting=setting, curve=curve).values()
    ]
    table(("key", "use", "sources", "types"), sorted(rows), fold={"sources": 10, "types": 10})
