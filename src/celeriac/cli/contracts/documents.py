"""`celeriac contracts list`, `asyncapi` and `catalog`"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from celeriac.cli.contracts.code import load_code
from celeriac.cli.contracts.commands import app_option, contracts, dir_option
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import count, table, when
from celeriac.cli.terminal import echo
from celeriac.contract.asyncapi import asyncapi_document
from celeriac.contract.catalog import EventInfo, make_catalog, versions_in
from celeriac.contract.catalog_page import catalog_page
from celeriac.contract.check import CheckInputs
from celeriac.contract.lock import lock_files, read_locks
from celeriac.tracking.contracts import read_catalog

registry_option = click.option(
    "--registry",
    is_flag=True,
    help="Use what workers have declared in Redis instead of lock files.",
)
title_option = click.option(
    "--title", default="Events", show_default=True, help="Title of the document."
)


@contracts.command("list")
@json_option
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the event types: versions, owner, readers, and when they were last emitted."""
    catalog = read_catalog(session.backend)
    if as_json:
        print_json([_plain(info) for info in catalog])
    elif not catalog:
        echo(
            "No contracts. A worker declares the contracts of its code when it starts; without "
            "handlers, run `celeriac contracts declare -A MODULE`."
        )
    else:
        now = session.backend.registry.now_ms()
        table(
            ("type", "versions", "owner", "deprecated", "read by", "emitted", "last seen"),
            [
                (
                    info.type,
                    ", ".join(f"v{version.contract.version}" for version in info.versions),
                    info.owner,
                    info.deprecated,
                    ", ".join(dict.fromkeys(reader.handler for reader in info.consumers)),
                    info.seen.emitted,
                    when(info.seen.last_ms or None, now_ms=now),
                )
                for info in catalog
            ],
            right=("emitted",),
            fold={"type": 20, "deprecated": 12, "read by": 24},
            shed=("deprecated", "emitted", "last seen"),
        )


@contracts.command()
@app_option
@dir_option
@registry_option
@title_option
@click.pass_context
def asyncapi(
    ctx: click.Context, module: str | None, directory: Path, registry: bool, title: str
) -> None:
    """Print the AsyncAPI 3 document as JSON, which is valid YAML.

    Describes the lock files, with the code of `-A` in place of its lock file; with `--registry`,
    what workers have declared in Redis.
    """
    session = ctx.find_object(Session)
    host = session.settings.redis_url.rpartition("@")[2].partition("//")[2] if session else ""
    catalog = _catalog(ctx, module, directory, registry)
    document = asyncapi_document(catalog, title=title, host=host.partition("/")[0])
    echo(json.dumps(document, indent=2, ensure_ascii=False))


@contracts.command("catalog")
@app_option
@dir_option
@registry_option
@title_option
@click.option(
    "--html",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write.",
)
@click.pass_context
def catalog_(
    ctx: click.Context,
    module: str | None,
    directory: Path,
    registry: bool,
    title: str,
    path: Path,
) -> None:
    """Write the event catalog as one HTML page, for a wiki."""
    catalog = _catalog(ctx, module, directory, registry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(catalog_page(catalog, title=title, made_ms=int(time.time() * 1000)))
    echo(f"{path} written: {count(len(catalog), 'event type')}.")


def _catalog(
    ctx: click.Context, module: str | None, directory: Path, registry: bool
) -> list[EventInfo]:
    if registry:
        session = ctx.find_object(Session)
        assert session is not None
        return read_catalog(session.backend)
    code = load_code(module) if module else None
    locks = read_locks(lock_files(directory))
    sources = CheckInputs(
        code=code.lock if code else None,
        annotations=code.annotations if code else {},
        files=locks,
    )
    code_locks = [code.lock] if code else []
    return make_catalog(versions_in([*code_locks, *locks.values()]), sources.readers())


def _plain(info: EventInfo) -> dict[str, object]:
    return {
        "type": info.type,
        "owner": info.owner,
        "deprecated": info.deprecated,
        "versions": [
            {
                "version": version.contract.version,
                "digest": version.contract.digest,
                "service": version.service,
                "declared_ms": version.declared_ms,
                "schema": version.contract.schema,
            }
            for version in info.versions
        ],
        "consumers": info.consumers,
        "emitted": info.seen.emitted,
        "last_seen_ms": info.seen.last_ms or None,
    }
