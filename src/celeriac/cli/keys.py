"""`celeriac keys`"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from celeriac.cli.group import CommandError
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import table
from celeriac.cli.terminal import echo
from celeriac.security.generate import generate as make
from celeriac.security.key import ENCRYPTION, SIGNING, public_keys


@click.group()
def keys() -> None:
    """Create and show the keys that events are signed with, and encrypted for.

    They are JSON Web Keys in files. NAME.private.json belongs to one service, NAME.public.json to
    all readers.
    """


@keys.command()
@click.argument("name")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Source it may sign for.")
@click.option("--type", "types", multiple=True, metavar="PATTERN", help="Types it may sign.")
@click.option(
    "--tenant", "tenants", multiple=True, metavar="NAME", help="Tenants whose events it may sign."
)
@click.option("--encryption", is_flag=True, help="Create a key for encryption, not for signing.")
@click.option(
    "--service", metavar="NAME", help="With --encryption: owner of the key. [default: NAME]"
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Folder for the files.",
)
def generate(
    name: str,
    sources: tuple[str, ...],
    types: tuple[str, ...],
    tenants: tuple[str, ...],
    encryption: bool,
    service: str | None,
    directory: Path,
) -> None:
    """Create a key pair. NAME is its id, for example billing-2026.

    Existing files are not overwritten.
    """
    if encryption and (sources or types or tenants):
        raise click.UsageError(
            "--source, --type and --tenant are not allowed with --encryption. Remove them."
        )
    if service and not encryption:
        raise click.UsageError("--service needs --encryption. Add it.")
    private, public = make(
        name,
        sources=sources,
        types=types,
        tenants=tenants,
        encryption=encryption,
        service=service or "",
    )
    directory.mkdir(parents=True, exist_ok=True)
    for key, part, mode in ((private, "private", 0o600), (public, "public", 0o644)):
        path = directory / f"{name}.{part}.json"
        _write(path, key, mode)
        echo(path)


def _write(path: Path, key: dict[str, Any], mode: int) -> None:
    text = msgspec.json.format(msgspec.json.encode(key), indent=2) + b"\n"
    try:
        # created with its mode, so that no other user can read it
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise CommandError(
            f"file already exists: {path}. Choose another name for the new key."
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)


@keys.command()
@click.argument("path", required=False)
@pass_session
def show(session: Session, path: str | None) -> None:
    """Show the public keys in a file or directory. [default: the trusted keys]"""
    given = path or session.settings.trusted_keys
    if not given:
        raise CommandError("No keys are trusted. Pass PATH or set CELERIAC_TRUSTED_KEYS.")
    setting = "PATH" if path else "CELERIAC_TRUSTED_KEYS"
    rows = [
        (
            key.id,
            "signs" if curve == SIGNING else f"is encrypted for {key.service}",
            "all" if key.sources is None else ", ".join(sorted(key.sources)),
            "all" if key.types is None else ", ".join(p.text for p in key.types.patterns),
            "all" if key.tenants is None else ", ".join(sorted(key.tenants)),
        )
        for curve in (SIGNING, ENCRYPTION)
        for key in public_keys(given, setting=setting, curve=curve).values()
    ]
    headings = ("key", "use", "sources", "types", "tenants")
    table(headings, sorted(rows), fold={"sources": 10, "types": 10, "tenants": 10})
