"""`celeriac contracts`"""

from __future__ import annotations

from pathlib import Path

import click

from celeriac.cli.contracts.code import ServiceCode, load_code
from celeriac.cli.contracts.report import (
    as_document,
    print_changed,
    print_judgement,
    summary,
)
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session
from celeriac.cli.show import count
from celeriac.cli.terminal import echo
from celeriac.contract.check import CheckInputs
from celeriac.contract.git_locks import committed_locks
from celeriac.contract.lock import (
    DIRECTORY,
    Lock,
    decode_lock,
    encode_lock,
    lock_files,
    merged,
    read_locks,
    without,
)
from celeriac.errors import ConfigurationError
from celeriac.tracking.contracts import registered_writers, running_readers

app_option = click.option(
    "-A", "--app", "module", metavar="MODULE", help="Module of the EventBus: package.module[:name]."
)
dir_option = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(DIRECTORY),
    show_default=True,
    help="Folder of the lock files.",
)


@click.group()
def contracts() -> None:
    """Lock, check and document the versions of each event's data."""


@contracts.command()
@app_option
@dir_option
@click.option(
    "--forget",
    multiple=True,
    metavar="TYPE:VERSION",
    help="Omit a version that the code no longer has: order.placed:1. Repeatable.",
)
@click.pass_context
def lock(ctx: click.Context, module: str | None, directory: Path, forget: tuple[str, ...]) -> None:
    """Write the lock file of a service, for git.

    It holds the contracts that the service owns, and what its handlers read. Versions that were
    removed from the code stay in the file, because their events may still be in the log. `--forget`
    removes them.
    """
    code = _code(ctx, module)
    path = directory / f"{code.lock.service}.json"
    written = merged(code.lock, _read(path))
    for text in forget:
        written = without(written, *_version(text))
    directory.mkdir(parents=True, exist_ok=True)
    content = encode_lock(written)
    changed = not path.exists() or path.read_bytes() != content
    path.write_bytes(content)
    versions = sum(map(len, written.contracts.values()))
    echo(
        f"{path} {'written' if changed else 'is up to date'}: {count(versions, 'version')} of "
        f"{count(len(written.contracts), 'event type')}, {count(len(written.readers), 'handler')}."
    )


@contracts.command()
@app_option
@click.pass_context
def declare(ctx: click.Context, module: str | None) -> None:
    """Write the contracts of a service's code to the registry in Redis.

    Workers do so when they start. A service without handlers has no worker that does: run this
    command when you deploy it. Fails if a version is registered with another schema.
    """
    code = _code(ctx, module)
    session = ctx.find_object(Session)
    assert session is not None
    written = code.lock
    session.backend.contracts.declare(written.service, written.contracts, written.readers)
    versions = sum(map(len, written.contracts.values()))
    types = count(len(written.contracts), "event type")
    echo(f"{count(versions, 'version')} of {types} declared by {written.service}.")


@contracts.command()
@app_option
@dir_option
@click.option("--against", metavar="git:REF", help="Commit whose versions may be in the log.")
@click.option(
    "--with",
    "others",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with lock files of other services. Repeatable.",
)
@click.option("--registry", is_flag=True, help="Include what workers have declared in Redis.")
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    module: str | None,
    directory: Path,
    against: str | None,
    others: tuple[Path, ...],
    registry: bool,
    as_json: bool,
) -> None:
    """Check that every reader takes every version that may still be in the log.

    With `-A`, checks the contracts and handlers in the code of that service. Without it, checks all
    lock files against each other. Exit code 1: a handler breaks, a version was changed, or a lock
    file is out of date.
    """
    code = load_code(module) if module else None
    files = lock_files(directory)
    for folder in others:
        files |= lock_files(folder)
    locks = read_locks(files)
    sources = CheckInputs(
        code=code.lock if code else None,
        annotations=code.annotations if code else {},
        files=locks,
        before=read_locks(committed_locks(directory, against)) if against else {},
        before_name=against or "",
    )
    if registry:
        session = ctx.find_object(Session)
        assert session is not None
        sources.registered = registered_writers(session.backend)
        sources.running = running_readers(session.backend)
    stale = _stale(code, locks, directory, module)
    changed, judgement = sources.changed(), sources.judge()
    if as_json:
        print_json(as_document(changed, judgement, stale))
    else:
        print_changed(changed)
        print_judgement(sources, judgement)
        for line in stale:
            echo(line)
        echo(summary(judgement))
    if changed or stale or judgement.breaks:
        ctx.exit(1)


def _code(ctx: click.Context, module: str | None) -> ServiceCode:
    if not module:
        raise click.UsageError(
            "The module of the EventBus is missing. Pass -A package.module.", ctx
        )
    return load_code(module)


def _read(path: Path) -> Lock | None:
    return decode_lock(path.read_bytes(), str(path)) if path.exists() else None


def _version(text: str) -> tuple[str, tuple[int]]:
    type_, _, number = text.rpartition(":")
    if not type_ or not number.isdigit():
        raise ConfigurationError(
            f"--forget is invalid: {text!r}. Write TYPE:VERSION, for example order.placed:1."
        )
    return type_, (int(number),)


def _stale(
    code: ServiceCode | None, locks: dict[str, Lock], directory: Path, module: str | None
) -> list[str]:
    """Return one line for each lock file that differs from the code."""
    if code is None:
        return []
    remedy = f"Run `celeriac contracts lock -A {module}` and commit the file."
    stored = locks.get(code.lock.service)
    path = directory / f"{code.lock.service}.json"
    if stored is None:
        return [f"{path} is missing. {remedy}"]
    if encode_lock(merged(code.lock, stored)) != encode_lock(stored):
        return [f"{path} does not match the code. {remedy}"]
    return []
